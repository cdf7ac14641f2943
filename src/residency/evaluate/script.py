"""The report's only program: the filters of its galleries."""

SCRIPT = """
for (const gallery of document.querySelectorAll('.gallery')) {
  const bar = gallery.querySelector('.filters'), said = bar.querySelector('output');
  const chosen = name => (bar.querySelector(`[data-filter=${name}]`) || {value: ''}).value;
  const show = () => {
    const method = chosen('method'), outcome = chosen('outcome'), reference = chosen('reference');
    let seen = 0;
    for (const card of gallery.querySelectorAll('article')) {
      for (const part of card.querySelectorAll('[data-method]'))
        part.toggleAttribute('hidden', method !== '' && part.dataset.method !== method);
      const replies = [...card.querySelectorAll('.reply:not([hidden])')];
      const fits = replies.some(r => !outcome || r.dataset.outcome.split(' ').includes(outcome));
      card.hidden = !fits || (reference !== '' && card.dataset.reference !== reference);
      seen += !card.hidden;
    }
    said.textContent = seen + ' shown';
  };
  bar.hidden = false;
  bar.addEventListener('change', show);
  show();
}
"""
