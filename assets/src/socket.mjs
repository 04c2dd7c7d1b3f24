/** A Socket is what a part of a page holds: its listeners. What it hears comes from its link, which it may share. */
export class Socket {
  connected = false
  recovered = false
  _listeners = { __proto__: null } // name → Map(listener → once?); the name '' stands for any

  constructor(link, complaint) {
    this._link = link
    this._complaint = complaint // about emit
  }

  on(name, listener, once) {
    ;(this._listeners[name] ||= new Map()).set(listener, once)
    return () => this.off(name, listener)
  }

  once(name, listener) {
    return this.on(name, listener, true)
  }

  onAny(listener) {
    return this.on('', listener)
  }

  off(name, listener) {
    if (listener) this._listeners[name]?.delete(listener)
    else if (name) delete this._listeners[name]
    else this._listeners = { __proto__: null }
  }

  connect() {
    this._link._add(this)
    return this
  }

  disconnect() {
    this._link._remove(this)
    return this
  }

  emit() {
    throw Error(this._complaint)
  }

  _call(name, ...args) {
    for (const [listener, once] of new Map(this._listeners[name])) {
      if (once) this.off(name, listener)
      try {
        listener.apply(this, args)
      } catch (error) {
        // Reported like any error of the page, and kept from the other listeners.
        setTimeout(() => {
          throw error
        })
      }
    }
  }

  _up(id, transport, recovered) {
    if (this.transport == transport) return
    this.transport = transport
    if (!this.connected) {
      this.connected = true
      this.id = id
      this.recovered = !!recovered
      this._call('connect')
    }
    this._call('transport', transport)
  }

  _down(reason, problem) {
    if (this.connected) {
      this.connected = false
      this.id = this.transport = undefined
      this._call('disconnect', reason)
    } else if (problem) this._call('connect_error', problem)
  }
}
