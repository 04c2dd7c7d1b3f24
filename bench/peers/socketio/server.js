// The lesson's own program on Socket.IO: count up when somebody connects, down when somebody goes, tell everyone.
//
//   node server.js PORT
//
// It counts silently until POST /count, because with 10,000 streams it would never come to what else is measured.
'use strict';

const http = require('node:http').createServer(answer);
const io = require('socket.io')(http);

let currentUsers = 0;
let counting = false;

function tell() {
  if (counting) io.emit('user count', currentUsers);
}

io.on('connection', (socket) => {
  ++currentUsers;
  tell();
  socket.on('disconnect', () => {
    --currentUsers;
    tell();
  });
});

function answer(request, response) {
  let body = '';
  request.on('data', (piece) => { body += piece; });
  request.on('end', () => {
    if (request.url === '/count') counting = true;
    else io.emit('news', JSON.parse(body));
    response.writeHead(204).end();
  });
}

http.listen(Number(process.argv[2]), '127.0.0.1');
