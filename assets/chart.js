// The line of the last ten minutes, on both pages: it goes on with what the server has drawn, and draws the same.

// eslint-disable-next-line no-unused-vars
const chart = (() => {
  const STEP = 5000 // ms, and the other three: as in internal/web/trend.go and chart.go, where the first line is drawn
  const STEPS = 120
  const HEIGHT = 100
  const MARGIN = 6
  const LEAST = 4

  const byId = (id) => document.getElementById(id)
  const svg = byId('chart')

  let points // as in trend.go: [peak, last] of each step, the last one being now
  let began // when the last step began, of performance.now()

  const advance = () => {
    const last = points.length ? points[points.length - 1][1] : 0
    for (let n = Math.min(STEPS, Math.floor((performance.now() - began) / STEP)); n > 0; n--) points.push([last, last])
    began += STEP * Math.floor((performance.now() - began) / STEP)
    points = points.slice(-STEPS)
  }

  const draw = () => {
    if (!points.length) return
    const start = STEPS - points.length
    const peak = points.reduce((most, [p]) => Math.max(most, p), 0)
    const index = points.findLastIndex(([p]) => p === peak)
    const top = Math.max(peak, LEAST)
    const y = (n) => HEIGHT - MARGIN - Math.floor((n * (HEIGHT - 2 * MARGIN) + Math.floor(top / 2)) / top)
    let at = y(points[0][1])
    let line = `M${start} ${at}`
    points.forEach(([p, last], i) => {
      if (y(p) === at && y(last) === at) return
      line += `H${start + i}V${y(p)}V${y(last)}`
      at = y(last)
    })
    line += `H${STEPS}`
    svg.querySelector('.line').setAttribute('d', line)
    svg.querySelector('.area').setAttribute('d', `${line}V${HEIGHT}H${start}Z`)
    svg.querySelector('.peak').setAttribute('d', `M${start + index} ${y(peak)}h0`)
    byId('peak').textContent = peak
    const minutes = Math.floor(((points.length - 1 - index) * STEP) / 60000)
    byId('age').textContent = minutes ? `${minutes} min ago` : 'just now'
  }

  // load takes what the server knew at a time: its points, and how long the last step had lasted.
  const load = (known, into, at) => {
    points = known
    began = at - into
    advance()
    draw()
  }

  // note is that the count is this from now on.
  const note = (count) => {
    advance()
    if (!points.length) points.push([0, 0])
    const now = points[points.length - 1]
    now[0] = Math.max(now[0], count)
    now[1] = count
    draw()
  }

  // loadFrom takes it from a page that the server sent.
  const loadFrom = (page, at) => {
    const { points, into } = page.getElementById('chart').dataset
    load(JSON.parse(points), into, at)
  }

  loadFrom(document, performance.getEntriesByType('navigation')[0].responseStart)
  const step = () => {
    advance()
    draw()
    setTimeout(step, began + STEP - performance.now())
  }
  step()

  return { load, loadFrom, note }
})()
