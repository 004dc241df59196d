// Paying by card with Stripe's Payment Element, mounted before there is a payment. The card goes from the browser to Stripe alone;
// our form is sent with the ConfirmationToken that stands for it: https://docs.stripe.com/payments/finalize-payments-on-the-server
"use strict";
{
  const form = document.getElementById("pay-by-card");
  const button = form.querySelector("button");
  const error = document.getElementById("payment-error");
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const say = (text) => {
    error.textContent = text;
  };

  // The page's colours, as they are on it just now: Stripe's frame knows nothing of our stylesheet.
  const appearance = () => {
    const [panel, brand, wrong] = [form.closest(".panel"), document.querySelector(".brand"), error].map((element) => getComputedStyle(element));
    return {
      theme: dark.matches ? "night" : "stripe",
      variables: {
        colorPrimary: brand.color,
        colorBackground: panel.backgroundColor,
        colorText: panel.color,
        colorDanger: wrong.color,
        fontFamily: panel.fontFamily,
        fontSizeBase: panel.fontSize,
        borderRadius: getComputedStyle(button).borderRadius,
      },
    };
  };

  const mount = () => {
    const stripe = Stripe(form.dataset.key);
    const elements = stripe.elements({
      mode: "payment",
      amount: Number(form.dataset.amount),
      currency: form.dataset.currency,
      captureMethod: "manual",
      // Not `paymentMethodTypes`, which this release refuses:
      // https://docs.stripe.com/changelog/endive/2026-09-30/remove-elements-deferred-intent-payment-method-types
      allowedPaymentMethodTypes: ["card"],
      appearance: appearance(),
    });
    const card = elements.create("payment", { wallets: { applePay: "never", googlePay: "never", link: "never" } });
    card.on("ready", () => {
      button.disabled = false;
    });
    card.on("loaderror", () => say("The card form could not be loaded. Please load this page again."));
    card.mount("#payment-element");
    dark.addEventListener("change", () => elements.update({ appearance: appearance() }));

    const token = async () => {
      const checked = await elements.submit();
      if (checked.error) throw checked.error;
      const made = await stripe.createConfirmationToken({ elements });
      if (made.error) throw made.error;
      return made.confirmationToken.id;
    };

    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (button.disabled) return; // A second click, while the first one is at work.
      button.disabled = true;
      say("");
      try {
        form.elements.card.value = await token();
        form.submit();
      } catch (problem) {
        say(problem.message || "The card could not be read. Nothing was charged; please try again.");
        button.disabled = false;
      }
    });
  };

  // A page that the browser had kept has a form that was sent already.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
  try {
    mount();
  } catch (problem) {
    console.error(problem);
    say("The card form could not be loaded. Please allow js.stripe.com, and load this page again.");
  }
}
