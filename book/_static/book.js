// The theme makes regions that scroll reachable by keyboard when it starts and after a resize: once more when the fonts,
// and with them all widths, are there.
window.addEventListener("load", () => document.fonts.ready.then(() => window.dispatchEvent(new Event("resize"))));

// A moving picture: the first slider of an explorer runs from its start to its end, by a button, and once by itself where
// nobody asked for less motion; whoever takes a slider stops it.
const FRAME_MS = 600;
window.addEventListener("load", () => {
  for (const picture of document.querySelectorAll(".moving-picture")) {
    const slider = picture.querySelector("input"), button = picture.querySelector("button");
    let timer = 0;
    const show = value => {
      slider.value = value;
      slider.dispatchEvent(new Event("input"));
    };
    const stop = () => clearInterval(timer);
    const play = () => {
      stop();
      show(slider.min);
      timer = setInterval(() => (slider.value === slider.max ? stop() : show(Number(slider.value) + 1)), FRAME_MS);
    };
    picture.addEventListener("pointerdown", event => event.target === button || stop());
    picture.addEventListener("keydown", event => event.target === button || stop());
    button.addEventListener("click", play);
    button.hidden = false;
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) play();
  }
});
