import { io } from '/assets/io.mjs'

io().on('user count', (users) => console.log(users))
