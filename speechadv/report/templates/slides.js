"use strict";
// One slide at a time: arrows, Page Up and Down, space, Home, End, the buttons, or a swipe. Without scripts the slides stand below each other.
const slides = [...document.querySelectorAll(".slide")];
let now = 0;

function show(number) {
  now = Math.min(slides.length - 1, Math.max(0, number));
  slides.forEach((slide, i) => slide.classList.toggle("now", i === now));
  document.getElementById("place").textContent = `${now + 1} / ${slides.length}`;
  history.replaceState(null, "", `#${now + 1}`);
}

function fit() {
  document.documentElement.style.setProperty("--scale", Math.min(innerWidth / 1280, innerHeight / 720));
}

const keys = {ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1, Home: -slides.length, End: slides.length};
addEventListener("keydown", (event) => {
  const onButton = event.key === " " && event.target.tagName === "BUTTON";
  if (!(event.key in keys) || onButton || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  show(now + (event.key === " " && event.shiftKey ? -1 : keys[event.key]));
});
document.getElementById("back").addEventListener("click", () => show(now - 1));
document.getElementById("on").addEventListener("click", () => show(now + 1));
let touched = 0;
addEventListener("touchstart", (event) => { touched = event.touches[0].clientX; });
addEventListener("touchend", (event) => {
  const moved = event.changedTouches[0].clientX - touched;
  if (Math.abs(moved) > 60) show(now - Math.sign(moved));
});
addEventListener("resize", fit);
document.documentElement.classList.add("one");
fit();
show((parseInt(location.hash.slice(1), 10) || 1) - 1);
