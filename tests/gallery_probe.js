// Put behind a page of pictures (view/gallery.c) by test_tool.sh: does what a user does, and says in the
// page whether it worked.
addEventListener('load', () => setTimeout(() => {
  const bad = [], figures = [...document.querySelectorAll('figure')];
  let held = 0;
  const claim = (name, ok) => { if (ok) held++; else bad.push(name); };
  const shown = () => figures.filter((f) => !f.hidden && f.getBoundingClientRect().width > 0);
  const filter = (name) => document.querySelector(`select[aria-label="${name}"]`);
  const choose = (name, value) => {
    filter(name).value = value;
    filter(name).dispatchEvent(new Event('change'));
  };
  const values = (name) => [...filter(name).options].map((o) => o.value).filter((v) => v !== '');
  const key = (name) => document.querySelector('dialog')
    .dispatchEvent(new KeyboardEvent('keydown', { key: name, bubbles: true, cancelable: true }));
  try {
    const all = figures.length;
    claim('all are shown at first', all > 20 && shown().length === all);
    claim('filters know what there is', values('method').join() === 'grad_cam,input,saliency' &&
      values('correct').join() === 'no,yes');
    choose('method', 'saliency');
    const of_method = shown().length;
    claim('a method is a third', 3 * of_method === all);
    choose('correct', 'no');
    const wrong = shown().length;
    choose('correct', 'yes');
    claim('right and wrong are all', wrong > 0 && wrong + shown().length === of_method);
    choose('true', values('true')[0]);
    claim('filters work together', shown().length > 0 && shown().length < of_method &&
      document.querySelector('output').textContent === shown().length + ' of ' + all);
    document.querySelector('form button').click();
    claim('all come back', shown().length === all && filter('method').value === '');
    figures[1].click();
    const view = document.querySelector('dialog'), first = view.querySelector('img').src;
    claim('a click opens a picture', view.open && first === figures[1].querySelector('img').src &&
      view.textContent.includes('predicted'));
    key('ArrowRight');
    claim('arrows go on', view.querySelector('img').src === figures[2].querySelector('img').src);
    view.click();
    claim('a click closes it', !view.open);
    const rules = [...document.styleSheets].flatMap((s) => [...s.cssRules]).map((r) => r.cssText);
    claim('hover enlarges', rules.some((r) => r.startsWith('figure:hover img') && r.includes('scale(1.7)')));
    claim('nothing is asked of the network', performance.getEntriesByType('resource')
      .every((e) => e.name.startsWith('data:')));
  } catch (e) { bad.push(String(e.stack)); }
  const out = document.createElement('pre');
  out.id = 'probe';
  out.textContent = bad.length ? 'failed: ' + bad.join('; ') : 'all ' + held + ' claims hold';
  document.body.append(out);
}, 300));
