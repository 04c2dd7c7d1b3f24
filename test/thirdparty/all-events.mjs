// The EventSource of the npm package "eventsource": all events, whatever their names, as JSON, one a line.
import { EventSource } from 'eventsource'

class Listener extends EventSource {
  dispatchEvent(event) {
    if ('data' in event) console.log(JSON.stringify({ ID: event.lastEventId, Name: event.type, Data: event.data }))
    return super.dispatchEvent(event)
  }
}

new Listener(process.argv[2])
