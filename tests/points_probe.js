// Put behind a page of points (view/points.c) by test_tool.sh: does what a user does, and says in the
// page whether it worked.
addEventListener('load', () => setTimeout(() => {
  const over = document.getElementById('over'), points = window.points, bad = [];
  let held = 0;
  const claim = (name, ok) => { if (ok) held++; else bad.push(name); };
  const pointer = (type, [x, y], more) => {
    const r = over.getBoundingClientRect();
    over.dispatchEvent(new PointerEvent(type,
      { clientX: r.left + x, clientY: r.top + y, pointerId: 1, bubbles: true, ...more }));
  };
  const drag = (path) => {
    pointer('pointerdown', path[0]);
    path.forEach((p) => pointer('pointermove', p));
    pointer('pointerup', path[path.length - 1]);
  };
  const state = () => points.state(), click = (s) => document.querySelector(s).click();
  const size = () => over.getBoundingClientRect();
  try {
    pointer('pointermove', points.at(5));
    const found = state().hover, tip = document.getElementById('tip');
    claim('hover shows picture and columns', found >= 0 && !tip.hidden &&
      tip.querySelector('.thumb') && tip.textContent.includes('class'));
    over.dispatchEvent(new WheelEvent('wheel', { deltaY: -400, clientX: 200, clientY: 300,
      cancelable: true }));
    claim('the wheel zooms', state().zoom > 1.5);
    const before = state().cx;
    drag([[50, 50], [90, 70]]);
    claim('dragging moves', state().cx < before);
    click('#reset');
    claim('reset shows all', state().zoom === 1 && state().cx === 0);
    click('button[value=box]');
    drag([[0, 0], [size().width / 2, size().height]]);
    const half = state().picked;
    claim('a box selects', half > 100 && half < 1797 && points.csv().split('\n').length === half + 2);
    click('button[value=lasso]');
    const w = size().width, h = size().height;
    drag([[0, 0], [w, 0], [w, h], [0, h]]);
    claim('a lasso selects', state().picked === 1797 &&
      document.querySelectorAll('#rows tr').length === 102);
    click('#clear');
    claim('it is cleared', state().picked === 0 && document.getElementById('picked').hidden);
    click('#legend button');
    claim('the legend hides a class', state().shown === 1797 - 178);
    click('#legend button');
    const find = document.getElementById('find');
    find.value = '7';
    find.dispatchEvent(new Event('input'));
    claim('search finds', state().matches === 179);
    ['n', 'n', 'Enter'].forEach((key) =>
      over.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true })));
    claim('keys go from point to point', state().hover === 1 && state().picked === 1 &&
      document.getElementById('say').textContent.includes('class 1'));
    claim('nothing is asked of the network', performance.getEntriesByType('resource')
      .every((e) => e.name.startsWith('data:')) && points.picture().width > 1000);
  } catch (e) { bad.push(String(e.stack)); }
  const out = document.createElement('pre');
  out.id = 'probe';
  out.textContent = bad.length ? 'failed: ' + bad.join('; ') : 'all ' + held + ' claims hold, ' +
    points.view;
  document.body.append(out);
}, 300));
