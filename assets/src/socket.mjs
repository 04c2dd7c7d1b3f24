// A socket is what a part of a page holds: its listeners. What it hears comes from its link, which it may share.

export const newSocket = (link, complaint) => {
  let listeners = { __proto__: null } // name → Map(listener → once?); the name '' stands for any

  const socket = {
    connected: false,
    recovered: false,

    on(name, listener, once) {
      ;(listeners[name] ||= new Map()).set(listener, once)
      link._want(name)
      // The function that undoes it, and the socket as well, for .on().on().
      return Object.setPrototypeOf(() => socket.off(name, listener), socket)
    },

    once: (name, listener) => socket.on(name, listener, true),
    onAny: (listener) => socket.on('', listener),

    off(name, listener) {
      if (listener) listeners[name]?.delete(listener)
      else if (name) delete listeners[name]
      else listeners = { __proto__: null }
      return socket
    },

    connect() {
      link._add(socket)
      return socket
    },

    disconnect() {
      link._remove(socket)
      return socket
    },

    emit() {
      throw Error(complaint)
    },

    _call(name, ...args) {
      for (const [listener, once] of new Map(listeners[name])) {
        if (once) socket.off(name, listener)
        try {
          listener.apply(socket, args)
        } catch (error) {
          // Reported like any error of the page, and kept from the other listeners.
          reportError(error)
        }
      }
    },

    _up(id, transport, recovered) {
      if (socket.transport == transport) return
      socket.transport = transport
      if (!socket.connected) {
        socket.connected = true
        socket.id = id
        socket.recovered = !!recovered
        socket._call('connect')
      }
      socket._call('transport', transport)
    },

    _down(reason, error) {
      if (socket.connected) {
        socket.connected = false
        socket.id = socket.transport = undefined
        socket._call('disconnect', reason)
      } else if (error) socket._call('connect_error', error)
    },
  }
  socket.open = socket.connect
  socket.close = socket.disconnect
  return socket
}
