// Counts down to moments that the server has named, on the server's clock. It decides nothing: at zero the server is asked again.
"use strict";
{
  // How far the server's clock is ahead of ours: of all it has told us, what was quickest under way is the truest.
  let ahead = -Infinity;
  const learn = (now) => {
    ahead = Math.max(ahead, now - performance.now());
  };
  document.addEventListener("server-time", (event) => learn(event.detail));

  const MARKS = [1, 2, 5]; // Minutes that are said aloud, politely.
  const ASK_EVERY_MS = 5000;
  let asked = -Infinity;

  let inDoubt = false; // At zero the server is asked: what it says then counts, also where it is less than we have learnt.
  const ask = () => {
    if (performance.now() - asked < ASK_EVERY_MS) return;
    asked = performance.now();
    inDoubt = true;
    document.dispatchEvent(new Event("time-is-up"));
  };

  const show = (timer) => {
    if (timer.learnt !== timer.dataset.now) {
      if (inDoubt) ahead = -Infinity;
      inDoubt = false;
      timer.learnt = timer.dataset.now;
      learn(Number(timer.dataset.now));
    }
    const left = Number(timer.dataset.until) - ahead - performance.now();
    const seconds = Math.max(0, Math.floor(left / 1000));
    const text = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}${timer.dataset.after ?? ""}`;
    if (timer.textContent !== text) timer.textContent = text;
    const mark = MARKS.find((minutes) => left <= minutes * 60_000 && timer.left > minutes * 60_000);
    if (mark) document.getElementById("said").textContent = timer.dataset.says.replace("{}", mark === 1 ? "1 minute" : `${mark} minutes`);
    timer.left = left;
    if (left <= 0) ask();
  };

  // Where a laptop sleeps, our clock may sleep with it, but the one on its wall does not: then the server's is asked for.
  const ASLEEP_MS = 5000;
  const self = document.currentScript.src;
  let apart = Date.now() - performance.now();
  const wake = () => {
    const slept = Date.now() - performance.now() - apart;
    if (Math.abs(slept) < ASLEEP_MS) return;
    apart += slept;
    document.dispatchEvent(new Event("woke"));
    askForTime();
  };
  const askForTime = () =>
    fetch(self, { method: "HEAD", cache: "no-store" }).then(
      (answer) => learn(Date.parse(answer.headers.get("date")) || -Infinity),
      () => setTimeout(askForTime, 3000), // The network may take longer to wake up.
    );

  const tick = () => {
    wake();
    document.querySelectorAll("[role=timer]").forEach(show);
  };
  setInterval(tick, 500);
  document.addEventListener("live", tick);
  tick();
}
