// The choice between the versions of this site, and the names of columns in tables that are lists on a phone.
// scripts/site.py writes versions.json beside the versions; where there is none, there is nothing to choose.
(async () => {
  for (const table of document.querySelectorAll("table.docutils")) {
    const names = [...table.querySelectorAll("thead th")].map((cell) => cell.textContent.trim());
    if (names.length < 3 && table.scrollWidth <= table.parentElement.clientWidth) continue;
    table.classList.add("wide");
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.cells].forEach((cell, index) => { if (index && names[index]) cell.dataset.column = names[index]; });
    }
  }

  // What scrolls must be reachable by the keyboard.
  for (const part of document.querySelectorAll("article pre, article .table-wrapper")) {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
  }

  const place = document.querySelector(".version");
  if (!place || !location.protocol.startsWith("http")) return;
  const home = new URL(place.dataset.root || "./", location.href);
  const answer = await fetch(new URL("../versions.json", home)).catch(() => null);
  if (!answer?.ok) return;
  const select = document.createElement("select");
  select.setAttribute("aria-label", "Version of the documentation");
  for (const version of await answer.json()) {
    select.add(new Option(version, version, false, version === place.dataset.here));
  }
  select.addEventListener("change", async () => {
    const page = location.pathname.slice(home.pathname.length);
    const there = new URL(`../${select.value}/`, home);
    const same = await fetch(new URL(page, there), { method: "HEAD" }).catch(() => null);
    location.href = new URL(same?.ok ? page : "", there);
  });
  place.append(select);
})();
