/* The floor: the least that a server can do which tells every reader of every event with one write(2) each.
 *
 * One thread, one epoll set, an array of descriptors. "GET" makes a connection a reader and answers a fixed header;
 * "POST" with a body writes that body to every reader as one event, then answers. It keeps nothing of what a reader
 * could not take, understands no HTTP beyond the first letter and the body, and tells nobody how many there are: it
 * is there to be compared with, not to be used.
 *
 *   floor PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FILES = 20000, MAX_BODY = 64 * 1024 };

static int readers[MAX_FILES], place[MAX_FILES], count;

static void leave(int fd)
{
	if (place[fd] > 0) {
		int last = readers[--count];
		readers[place[fd] - 1] = last;
		place[last] = place[fd];
		place[fd] = 0;
	}
	close(fd);
}

static void tell(const char *body, size_t length)
{
	static char event[MAX_BODY + 16];
	memcpy(event, "data: ", 6);
	memcpy(event + 6, body, length);
	memcpy(event + 6 + length, "\n\n", 2);
	for (int i = count; i-- > 0;)
		if (write(readers[i], event, length + 8) < 0 && errno != EAGAIN)
			leave(readers[i]);
}

static void answer(int fd)
{
	static char request[MAX_BODY];
	static const char stream[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
	static const char done[] = "HTTP/1.1 204 No Content\r\n\r\n";
	ssize_t n = read(fd, request, sizeof request - 1);
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			leave(fd);
		return;
	}
	request[n] = 0;
	if (place[fd] > 0)
		return;
	if (request[0] == 'G') {
		readers[count++] = fd;
		place[fd] = count;
		if (write(fd, stream, sizeof stream - 1) < 0)
			leave(fd);
		return;
	}
	char *body = strstr(request, "\r\n\r\n");
	char *header = strcasestr(request, "\r\nContent-Length:");
	if (!body || !header) {
		leave(fd);
		return;
	}
	body += 4;
	size_t length = strtoul(header + 17, NULL, 10), have = request + n - body;
	while (have < length && length < sizeof request - (body - request)) {
		n = read(fd, body + have, length - have);
		if (n > 0)
			have += n;
		else if (n == 0 || errno != EAGAIN)
			break;
	}
	tell(body, have);
	if (write(fd, done, sizeof done - 1) < 0)
		leave(fd);
}

int main(int argc, char **argv)
{
	struct rlimit files = {MAX_FILES, MAX_FILES};
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	static struct epoll_event ready[512];
	int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), set = epoll_create1(0);

	if (argc != 2 || (address.sin_port = htons(atoi(argv[1]))) == 0) {
		fprintf(stderr, "usage: floor PORT\n");
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &files);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) {
		perror("listen");
		return 1;
	}
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
	epoll_ctl(set, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int n = epoll_wait(set, ready, 512, -1);
		for (int i = 0; i < n; i++) {
			if (ready[i].data.fd != listener) {
				answer(ready[i].data.fd);
				continue;
			}
			int fd;
			while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
				event.events = EPOLLIN | EPOLLRDHUP;
				event.data.fd = fd;
				if (fd >= MAX_FILES || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0)
					close(fd);
			}
		}
	}
}
