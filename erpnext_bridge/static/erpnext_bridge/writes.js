// Follows one write until it is settled, asking less and less often. Without JavaScript the page reloads itself.
"use strict";

for (const card of document.querySelectorAll("[data-bridge-write]")) {
  const part = (name) => card.querySelector(`[data-bridge="${name}"]`);

  // Setting equal text would make a screen reader say it again.
  const say = (name, text) => {
    if (part(name).textContent !== text) part(name).textContent = text;
  };

  const show = (status) => {
    part("label").className = `bridge-state ${status.look}`;
    say("label", status.label);
    say("advice", status.advice);
    say("messages", status.messages.join("\n"));
    part("messages").hidden = status.messages.length === 0;
    say("document", status.document_name);
    part("document").href = status.document_url;
    part("document").hidden = !status.document_url;
    say("unnamed", status.document_name || "has no name yet");
    part("unnamed").hidden = Boolean(status.document_url);
    say("attempts", String(status.attempts));
    say("next", status.next_attempt);
    part("next").hidden = part("next-term").hidden = !status.next_attempt;
    part("reload").hidden = status.settled;
  };

  let wait = 500;

  const follow = async () => {
    try {
      const answer = await fetch(card.dataset.bridgeWrite, {
        headers: { Accept: "application/json" },
        redirect: "error",
      });
      if (answer.status === 404) return;
      if (answer.ok) {
        const status = await answer.json();
        show(status);
        if (status.settled) return;
      }
    } catch {
      // The network comes back, or the person uses the link.
    }
    wait = Math.min(wait * 1.5, 15000);
    setTimeout(follow, wait);
  };

  setTimeout(follow, wait);
}
