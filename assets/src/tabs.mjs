// The tabs of a browser share the connection to a room. One tab leads. It has the connection, and posts what it gets on a
// BroadcastChannel. The others follow. A Web Lock decides which tab leads. Where the browser has no locks (plain http, except for
// localhost) the tabs agree on the channel alone, see docs/decisions/0016-one-connection-for-all-tabs.md. This knows no servers.

/**
 * names is the Set of the event names that any tab listens for. tab has these callbacks:
 *
 * - lead(): this tab leads from now on, until retire()
 * - follow(all): another tab leads and knows all names; if all is set, followers announce themselves
 * - hear(...news): the leader posted news; reports whether this tab missed earlier news
 * - listen(name): a tab listens for another name
 * - here(id), left(id): another tab is there, or leaves; joined(id): it follows this tab
 */
export const newTabs = (name, names, tab) => {
  // What tabs post: [kind, sender, names, …]. The sender is the client id, and of a leader its term; the latest term leads.
  const ASK = 0 // does anybody lead?
  const JOIN = 1 // I follow, and am counted; renew my lease
  const BYE = 2 // successor: I leave; the successor is to lead, if I did
  const LEAD = 3 // all: I lead; if all is set, all followers announce themselves
  const NEWS = 4 // anything: for the followers

  const ANSWER = 2000 // how long a leader may take to answer
  const FIRST_ANSWER = 250 // without locks, of a new tab
  const SILENCE = 4000 // of a leader, at least; then it is asked for

  const { locks } = navigator // none on plain http, but for localhost
  let channel // to the other tabs; none while this one is alone
  let id
  let leads
  let term = '' // of the tab that leads, as far as this one knows
  let successor // who is to lead next
  let waiting // an AbortController: ends the wait for the lock
  let release // releases the lock
  let known // the tab that led last knew all names that this one knows
  let watch // the timer that looks whether the leader is still there

  const post = (kind, ...args) => channel?.postMessage([kind, leads ? term : id, names, ...args])

  const lead = () => {
    clearTimeout(watch)
    // One more than the last, so that all agree on which is later; the id decides between two at once.
    term = (parseInt(term) || 1e9) + 1 + ' ' + id
    leads = known = true
    post(LEAD, true)
    tab._lead()
  }

  /** Keeps the lock: the one that leads now may have come without, and then another would be next in line. */
  const retire = () => {
    successor = leads = 0
    tab._retire()
    queue()
  }

  /** Waits for the lock, or takes it away. */
  const queue = (steal) => {
    if (!locks) return steal && lead()
    waiting?.abort()
    const mine = (waiting = new AbortController())
    locks
      .request(
        name,
        steal ? { steal } : mine,
        () =>
          waiting == mine &&
          new Promise((resolve) => {
            release = resolve
            lead()
          }),
      )
      .catch((error) => error.code == 20 || lead()) // not aborted: a page without an origin may have no lock
  }

  /** In so many ms asks whether anybody leads, and leads if nobody answers. */
  const look = (time, answer) => {
    clearTimeout(watch)
    watch = setTimeout(() => {
      post(ASK)
      watch = setTimeout(queue, answer || ANSWER, true)
    }, time)
  }

  const learn = (more) => more.forEach((one) => names.has(one) || tab._listen(one, names.add(one)))

  // Only the leader learns names from all. So the others do not take it for one that knows less, until it had time to learn.
  const hear = ({ data: [kind, from, theirs, ...args] }) => {
    if (leads || kind >= LEAD) learn(theirs)
    if (kind >= LEAD) {
      if (from < term) return leads && post(LEAD)
      if (leads) retire()
      term = from
      look(SILENCE * (1 + Math.random()))
      // What the leader does not listen for, it does not post. Who missed something, or may have, reads it: it leads.
      if (names.size > theirs.size) known ? queue(true) : post(ASK)
      else {
        known = true
        tab._follow(kind == LEAD && args[0])
        if (kind == NEWS && tab._hear(...args)) queue(true)
      }
    } else if (kind == BYE) {
      tab._left(from)
      if (successor == from) post(LEAD, !(successor = 0))
      else if (args[0] == id && !leads && !locks) lead()
    } else {
      tab._here(from)
      if (leads) kind == ASK ? post(LEAD) : tab._joined((successor = from))
    }
  }

  return {
    /** Whether anybody else is there is not known without a channel. Who has read before leads at once: it may be behind the
     * others, reads from where it was, and they skip what they have. */
    _join(user, hasRead, alone) {
      id = user
      try {
        if (!alone) {
          channel = new BroadcastChannel(name)
          channel.onmessage = hear
        }
      } catch {} // the browser may let this page have none
      if (!channel) return lead()
      queue(hasRead)
      if (!hasRead) look(0, !locks && FIRST_ANSWER)
    },

    _leave() {
      const next = successor
      if (leads) retire()
      release?.()
      post(BYE, next)
      channel?.close()
      channel = waiting = waiting?.abort()
      clearTimeout(watch)
    },

    /** A tab that is frozen gets what the others post, but nothing from the network. */
    _freeze() {
      if (!successor) return
      retire()
      release?.()
      look(0)
    },

    /** This tab listens for another name. */
    _want(one) {
      if (names.has(one)) return
      learn([one])
      known = leads
      post(leads ? LEAD : ASK)
    },

    /** The leader asks all followers to announce themselves. A follower announces itself. */
    _call: () => post(leads ? LEAD : JOIN, true),

    /** For all followers. */
    _post: (...news) => post(NEWS, ...news),
  }
}
