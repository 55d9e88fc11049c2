"use strict";
// On every page: buttons to copy commands, and folds that open when a link leads into them or for printing.
(() => {
  const add = (element) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    element.after(button);
  };
  document.querySelectorAll(".command pre").forEach(add);
  [...document.querySelectorAll("p code")].filter((code) => /\bexplorer /.test(code.textContent)).forEach(add);
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Pages served over plain http have no clipboard access.
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });

  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const fold = target?.closest("details");
    if (!fold || fold.open) return;
    fold.open = true;
    target.scrollIntoView();
  }
  window.addEventListener("hashchange", reveal);
  for (const link of document.querySelectorAll('a[href^="#"]'))
    link.addEventListener("click", () => setTimeout(reveal)); // even if the address does not change
  reveal();

  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const fold of closed) fold.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const fold of closed) fold.open = false;
  });
})();
