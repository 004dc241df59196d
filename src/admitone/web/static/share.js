// Says while one types what the buyer pays and the seller gets, to the cent as the ledger books it: in whole cents, a half upwards.
"use strict";
{
  const shares = document.getElementById("shares");
  const price = document.getElementById("price");
  const { words, nothing } = shares.dataset;

  const money = (cents) => nothing.replace("0.00", (cents / 100).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 }));

  const show = () => {
    const typed = /^([0-9]{1,9})(?:\.([0-9]{1,2}))?$/.exec(price.value.trim());
    const cents = typed ? 100 * typed[1] + Number((typed[2] ?? "").padEnd(2, "0")) : 0;
    const fee = Math.floor((cents * shares.dataset.fee + 5000) / 10_000);
    const amounts = [cents, cents - fee];
    const said = cents >= 50 && cents <= 99_999_999 ? words.replaceAll("{}", () => money(amounts.shift())) : "";
    if (shares.textContent !== said) shares.textContent = said;
  };

  price.addEventListener("input", show);
  show();
}
