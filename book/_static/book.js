// The theme makes regions that scroll reachable by keyboard when it starts and after a resize: once more when the fonts,
// and with them all widths, are there.
window.addEventListener("load", () => document.fonts.ready.then(() => window.dispatchEvent(new Event("resize"))));
