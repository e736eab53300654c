/*
 * A fetcher that is taken over: preloaded into the real one, it runs when the
 * relay accepts its first connection, which is after the confinement. Each line
 * that it writes to standard error is `ATTEMPT NAME ERRNO`; 0 is a success.
 * With HOSTILE_NOW set it runs at once, without confinement: the control.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* Whom it is after; the test says so when it compiles this. */
static const unsigned short tcp_port = TCP_PORT, udp_port = UDP_PORT;
static const char path[] = UNIX_PATH, datagram[] = DATAGRAM_PATH, abstract[] = ABSTRACT_NAME;

static void tell(const char *name, int result)
{
	dprintf(2, "ATTEMPT %s %d\n", name, result < 0 ? errno : 0);
}

static struct sockaddr_in host(unsigned short port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return to;
}

static socklen_t name_of(struct sockaddr_un *to, const char *name, int hidden)
{
	memset(to, 0, sizeof *to);
	to->sun_family = AF_UNIX;
	strcpy(to->sun_path + hidden, name);
	return offsetof(struct sockaddr_un, sun_path) + hidden + strlen(name) + !hidden;
}

static int stream(int family, int protocol, unsigned short port)
{
	struct sockaddr_in to = host(port);
	int fd = socket(family, SOCK_STREAM, protocol);
	return fd < 0 ? fd : connect(fd, (struct sockaddr *)&to, sizeof to);
}

static int fast_open(unsigned short port, int by_message)
{
	struct sockaddr_in to = host(port);
	struct iovec data = { .iov_base = "x", .iov_len = 1 };
	struct msghdr message = { .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &data, .msg_iovlen = 1 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0)
		return fd;
	return by_message ? sendmsg(fd, &message, MSG_FASTOPEN)
			  : sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&to, sizeof to);
}

static int unix_socket(const char *name, int hidden)
{
	struct sockaddr_un to;
	socklen_t length = name_of(&to, name, hidden);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	return fd < 0 ? fd : connect(fd, (struct sockaddr *)&to, length);
}

/* A pair of datagram sockets, one of which is aimed at the host's. */
static int turned_pair(const char *name)
{
	struct sockaddr_un to;
	socklen_t length = name_of(&to, name, 0);
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) < 0)
		return -1;
	return sendto(fds[0], "x", 1, 0, (struct sockaddr *)&to, length);
}

static int datagram_to(unsigned short port)
{
	struct sockaddr_in to = host(port);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	return fd < 0 ? fd : sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to);
}

static int listening(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return fd < 0 ? fd : listen(fd, 1);
}

static int bound(void)
{
	struct sockaddr_in at = host(0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return fd < 0 ? fd : bind(fd, (struct sockaddr *)&at, sizeof at);
}

/* There is no such kind, but whether one may ask is seen. */
static int another_kind(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return setsockopt(fd, SOL_TCP, TCP_ULP, "none", 4);
}

/* Whoever it is sent to waits when he closes it. */
static int lingering(void)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 3600 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static int ring(void)
{
	struct io_uring_params params = { 0 };
	return syscall(SYS_io_uring_setup, 4, &params);
}

static int child(void)
{
	int pid = fork();
	if (pid == 0)
		_exit(0);
	return pid < 0 ? pid : waitpid(pid, NULL, 0);
}

static int program(void)
{
	char *arguments[] = { "none", NULL };
	return execve("/nonexistent", arguments, arguments + 1);
}

static int allowed_pair(void)
{
	int fds[2];
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
}

static void attack(void)
{
	tell("allowed: tcp socket", socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP));
	tell("allowed: socketpair", allowed_pair());
	tell("tcp to another port", stream(AF_INET, 0, tcp_port));
	tell("mptcp", stream(AF_INET, IPPROTO_MPTCP, tcp_port));
	tell("fast open", fast_open(tcp_port, 0));
	tell("fast open by a message", fast_open(tcp_port, 1));
	tell("unix socket by path", unix_socket(path, 0));
	tell("unix socket without a path", unix_socket(abstract, 1));
	tell("turned socketpair", turned_pair(datagram));
	tell("udp", datagram_to(udp_port));
	tell("udp over ipv6", socket(AF_INET6, SOCK_DGRAM, 0));
	tell("ping", socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
	tell("raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	tell("packet", socket(AF_PACKET, SOCK_RAW, 0));
	tell("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
	tell("netlink", socket(AF_NETLINK, SOCK_RAW, 0));
	tell("another kind of tcp", another_kind());
	tell("a socket that lingers", lingering());
	tell("listen", listening());
	tell("bind", bound());
	tell("io_uring", ring());
	tell("a child", child());
	tell("a program", program());
	tell("the host's processes", open("/proc", O_RDONLY | O_DIRECTORY));
	tell("another's arguments", open("/proc/1/cmdline", O_RDONLY));
	tell("end", 0);
}

int accept4(int fd, struct sockaddr *from, socklen_t *length, int flags)
{
	static int done;
	int (*real)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");
	int accepted = real(fd, from, length, flags);
	int error = errno;
	if (accepted >= 0 && !done++)
		attack();
	errno = error;
	return accepted;
}

__attribute__((constructor)) static void control(void)
{
	if (getenv("HOSTILE_NOW"))
		attack();
}
