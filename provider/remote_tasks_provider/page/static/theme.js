// Light or dark, as Airflow's UI around this page is now; on its own, as the browser prefers.
"use strict";

(() => {
  const around = () => {
    try {
      return window.parent === window ? null : window.parent.document.documentElement;
    } catch {
      return null; // framed by another site, which Airflow does not do
    }
  };
  const preference = window.matchMedia("(prefers-color-scheme: dark)");

  const apply = () => {
    const names = around()?.classList;
    const isKnown = names?.contains("dark") || names?.contains("light");
    const isDark = isKnown ? names.contains("dark") : preference.matches;
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
  };

  apply();
  preference.addEventListener("change", apply);
  const outer = around();
  if (outer) {
    new MutationObserver(apply).observe(outer, { attributes: true, attributeFilter: ["class"] });
  }
})();
