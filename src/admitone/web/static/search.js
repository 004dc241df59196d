// Search as you type is htmx's work (see the form); here is what it leaves open. Without scripts the form is sent as a form.
"use strict";
{
  const form = document.querySelector(".search");
  const trouble = document.getElementById("search-trouble");
  const ONE_SEARCH_MS = 2000;
  let searched = -Infinity;

  // An address that can be passed on: without what was left empty.
  document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
    for (const [name, value] of [...ctx.request.body]) if (!value.trim()) ctx.request.body.delete(name);
  });

  // Each search is a step back; each letter of one is not.
  document.addEventListener("htmx:before:history:update", ({ detail }) => {
    if (performance.now() - searched > ONE_SEARCH_MS) detail.history.type = "push";
    searched = performance.now();
  });

  const say = (text) => () => {
    trouble.textContent = text;
  };
  document.addEventListener("htmx:after:swap", say(""));
  document.addEventListener("htmx:error", say("The search does not answer. What you see may not be what you typed; please try again."));
  document.addEventListener("htmx:finally:swap", ({ detail: { ctx } }) => {
    if (ctx.response.status >= 429) say("The search does not answer just now. Please try again in a moment.")();
  });
}
