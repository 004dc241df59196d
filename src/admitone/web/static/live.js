// Keeps an open page true: the server tells what has changed, and we put it where it belongs. It also tells when to ask for the page
// anew (`again`). After a lost connection we say how far we had heard, so that nothing is missed and nothing asked for in vain.
"use strict";
{
  const SILENT_MS = 40_000; // The server says something every 15 s. This also wakes us after a laptop's sleep.
  const MUTE_MS = 10_000; // And its first word at once, unless the browser has taken up another connection that is dead.
  const part = () => document.getElementById("live");
  const element = (html) => document.createRange().createContextualFragment(html).firstElementChild;
  let stream, since, opening, asking;
  let asked = 0;

  // Without HTTP/2 a browser has six connections for all its windows. Four may listen; a further one asks again every few seconds, and
  // listens as soon as it finds a place.
  const PLACES = 4;
  const ASK_EVERY_MS = 5000;
  const isScarce = "locks" in navigator && performance.getEntriesByType("navigation")[0]?.nextHopProtocol === "http/1.1";
  let leave; // Gives our place back, while we have one.
  const findPlace = async () => {
    for (let number = 1; number <= PLACES && !leave; number++) {
      await new Promise((answered) => {
        navigator.locks.request(`listener ${number}`, { ifAvailable: true }, (lock) => {
          answered();
          if (lock && !leave) return new Promise((free) => (leave = free));
        });
      });
    }
  };

  const open = async () => {
    stream?.close();
    clearTimeout(opening);
    if (document.hidden || !part().dataset.stream) {
      leave = leave?.();
      return;
    }
    if (isScarce && !leave) {
      await findPlace();
      if (leave) return open(); // We may be hidden by now.
      again();
      return openIn(ASK_EVERY_MS);
    }
    const address = new URL(part().dataset.stream, location.href);
    address.searchParams.set("since", since);
    stream = new EventSource(address);
    for (const [event, hear] of Object.entries(heard)) {
      stream.addEventListener(event, (message) => {
        since = message.lastEventId;
        openIn(SILENT_MS);
        hear(message.data);
        document.dispatchEvent(new Event("live"));
      });
    }
    stream.onerror = () => openIn(1000 + Math.random() * 2000);
    openIn(MUTE_MS);
  };
  const openIn = (ms) => {
    clearTimeout(opening);
    opening = setTimeout(open, ms);
  };
  const begin = () => {
    since = part().dataset.since;
    open();
    askInTime();
  };

  // Put one thing in the place of another. Whoever was on it with the keyboard stays there, on the same card of a list.
  const replace = (old, fresh) => {
    const focused = old.contains(document.activeElement);
    const card = document.activeElement.closest("li[id]")?.id;
    old.replaceWith(fresh);
    if (focused) (document.getElementById(card) ?? fresh).querySelector("a, button")?.focus();
  };

  // Make one thing what another is. What is the same in both is not touched, and what somebody fills in (`data-kept`) is left to them.
  const become = (old, fresh) => {
    const focused = old.contains(document.activeElement);
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const pieces = [...fresh.childNodes];
    const named = (nodes, id) => id && nodes.find((node) => node.id === id);
    let place = old.firstChild;
    for (const child of pieces) {
      const same = named([...old.children], child.id) || (place?.isEqualNode(child) ? place : null);
      if (!same) {
        old.insertBefore(child, place);
        continue;
      }
      while (place !== same && place && !named(pieces, place.id)) {
        const gone = place;
        place = place.nextSibling;
        gone.remove();
      }
      if (place !== same) old.insertBefore(same, place);
      place = same.nextSibling;
      if (child.id && !("kept" in same.dataset)) become(same, child);
    }
    while (place) {
      const gone = place;
      place = place.nextSibling;
      gone.remove();
    }
    if (focused && !old.contains(document.activeElement)) old.querySelector("a, button")?.focus();
  };

  const again = async () => {
    clearTimeout(asking);
    const [mine, url, heardUntil] = [++asked, part().dataset.url, since];
    const [status, html] = await fetch(url).then(async (answer) => [answer.status, await answer.text()]).catch(() => [0]);
    if (mine !== asked || url !== part().dataset.url) return; // A later one answers, or another search has come in between.
    if (!status || status >= 500 || status === 429) return againIn(3000);
    const page = new DOMParser().parseFromString(html, "text/html");
    const fresh = page.getElementById("live");
    // It has become another page, such as the one to sign in; or it needs more than is here, such as Stripe's script.
    const scripts = (of) => [...of.querySelectorAll("script[src]")].map((script) => script.getAttribute("src"));
    const here = scripts(document);
    if (!fresh || scripts(page).some((script) => !here.includes(script))) return location.replace(url);
    document.title = page.title;
    show(document.importNode(fresh, true));
    if (since !== heardUntil) begin(); // What we heard meanwhile may be newer than this page: it is told from its own place on.
  };
  const againIn = (ms) => {
    clearTimeout(asking);
    asking = setTimeout(again, ms);
  };
  // Some things end without anybody telling: the server says in how many seconds there may be something new to see.
  const askInTime = () => part().dataset.again && againIn(1000 * part().dataset.again);

  const show = (fresh) => {
    const shown = part();
    const { says, price } = shown.dataset;
    become(shown, fresh);
    if (shown.dataset.says && shown.dataset.says !== says) document.getElementById("said").textContent = shown.dataset.says;
    if ("available" in shown.dataset) document.querySelectorAll("[data-until-available]").forEach((answer) => answer.remove());
    const button = shown.querySelector("form button");
    const newPrice = shown.querySelector("[data-new-price]");
    if (newPrice && shown.dataset.price !== price) {
      newPrice.hidden = false;
      if (button) button.disabled = true; // A click under way was meant for the old price.
      setTimeout(() => button && (button.disabled = false), 1000);
    }
    askInTime();
    document.dispatchEvent(new Event("live"));
  };

  const known = (id) => document.getElementById(`ticket-${id}`);
  const isNewer = (old, version) => !old || Number(old.dataset.version) < Number(version);
  const isBefore = (one, other) => one.dataset.price - other.dataset.price || (one.id < other.id ? -1 : 1);
  const count = (list) => {
    if (list.childElementCount === 0 && list.dataset.last === undefined) againIn(Math.random() * 1000); // There is more of it.
    else part().querySelector(".empty")?.toggleAttribute("hidden", list.childElementCount > 0);
  };

  const heard = {
    beat: (now) => document.dispatchEvent(new CustomEvent("server-time", { detail: Number(now) })),
    again: (withinMs) => againIn(Math.random() * withinMs),
    ticket: (html) => {
      const fresh = element(html);
      if (isNewer(part(), fresh.dataset.version)) show(fresh);
    },
    // What is new stands on top, or where its price puts it; what belongs to another page of the list is left to that.
    card: (html) => {
      const fresh = element(html);
      const old = document.getElementById(fresh.id);
      if (!isNewer(old, fresh.dataset.version)) return;
      const list = part().querySelector(".tickets");
      const { sort, first, last } = list.dataset;
      fresh.classList.toggle("is-new", !old);
      if (sort === "cheapest") {
        const next = [...list.children].find((other) => other !== old && isBefore(fresh, other) < 0);
        const isHere = next ? next !== list.firstElementChild || first !== undefined : last !== undefined;
        old?.remove();
        if (isHere) list.insertBefore(fresh, next ?? null);
      } else if (old) replace(old, fresh);
      else if (first !== undefined) list.prepend(fresh);
      count(list);
    },
    gone: (data) => {
      const [id, version] = data.split(" ");
      if (known(id) && (isNewer(known(id), version))) known(id).remove();
      count(part().querySelector(".tickets"));
    },
  };

  document.addEventListener("visibilitychange", open);
  addEventListener("pageshow", (event) => event.persisted && open());
  addEventListener("online", open);
  document.addEventListener("woke", open);
  document.addEventListener("time-is-up", again);
  document.addEventListener("htmx:after:swap", begin);
  begin();
}
