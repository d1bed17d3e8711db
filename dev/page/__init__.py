"""The Remote Tasks page over made-up waits: for its tests, its picture and its benchmark."""
