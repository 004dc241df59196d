// The session is in a cookie that no script can see: there is nothing to type in, so the buttons that ask for it are left away.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const nothing = () => () => null;
SwaggerUIBundle({
  url: document.getElementById("api").dataset.url,
  domNode: document.getElementById("api"),
  validatorUrl: null,
  queryConfigEnabled: false,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  plugins: [{ wrapComponents: { authorizeBtn: nothing, authorizeOperationBtn: nothing } }],
});
