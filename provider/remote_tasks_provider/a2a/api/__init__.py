"""The wire forms of A2A, and the operations over them."""
