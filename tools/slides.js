// Start reveal.js when the formulas are set, then make the letters of a slide smaller until all of it is seen.
MathJax.startup.promise
  .then(() => Reveal.initialize({
    width: 1280, height: 720, margin: 0, center: false, display: "flex", viewDistance: 999,
    transition: "none", hash: true, slideNumber: "c/t", controls: false,
  }))
  .then(() => {
    for (const slide of Reveal.getSlides()) {
      const isCut = () => slide.scrollHeight > slide.clientHeight || slide.scrollWidth > slide.clientWidth;
      for (let size = 100; isCut() && size > 50; size -= 5) slide.style.fontSize = `${size}%`;
    }
  });
