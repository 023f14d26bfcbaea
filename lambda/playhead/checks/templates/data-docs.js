"use strict";
for (const link of document.querySelectorAll('[data-toggle="collapse"]')) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById(link.getAttribute("href").slice(1)).classList.toggle("show");
  });
}
for (const row of document.querySelectorAll("tbody tr")) {
  row.classList.toggle("passed", row.querySelector("td .fa-check-circle") !== null);
}
document.getElementById("failed-only").addEventListener("change", (event) => {
  document.body.classList.toggle("failed-only", event.target.checked);
});
