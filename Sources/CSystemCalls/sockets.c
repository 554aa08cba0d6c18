// TCP connections between the processes of one run.

#define _GNU_SOURCE
#include "CSystemCalls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

static void prepare(int socket) {
  int one = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
#ifdef SO_NOSIGPIPE
  setsockopt(socket, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof one);
#endif
  fcntl(socket, F_SETFD, FD_CLOEXEC);
}

int csystem_listen(int port, int *bound) {
  int result = socket(AF_INET, SOCK_STREAM, 0);
  if (result < 0) return -errno;
  int one = 1;
  setsockopt(result, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  fcntl(result, F_SETFD, FD_CLOEXEC);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  socklen_t size = sizeof address;
  if (bind(result, (struct sockaddr *)&address, sizeof address) != 0 || listen(result, 128) != 0 ||
      getsockname(result, (struct sockaddr *)&address, &size) != 0) {
    int error = errno;
    close(result);
    return -error;
  }
  *bound = ntohs(address.sin_port);
  return result;
}

int csystem_accept(int listener, int milliseconds, char *peer, size_t capacity) {
  struct pollfd entry = {.fd = listener, .events = POLLIN};
  int ready = poll(&entry, 1, milliseconds);
  if (ready == 0) return -ETIMEDOUT;
  if (ready < 0) return -errno;
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  int result = accept(listener, (struct sockaddr *)&address, &size);
  if (result < 0) return -errno;
  prepare(result);
  if (inet_ntop(AF_INET, &address.sin_addr, peer, (socklen_t)capacity) == NULL) peer[0] = 0;
  return result;
}

int csystem_connect(const char *host, int port) {
  char service[16];
  snprintf(service, sizeof service, "%d", port);
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
  if (getaddrinfo(host, service, &hints, &found) != 0) return -EHOSTUNREACH;
  int status = -EHOSTUNREACH;
  for (struct addrinfo *entry = found; entry != NULL; entry = entry->ai_next) {
    int result = socket(entry->ai_family, entry->ai_socktype, entry->ai_protocol);
    if (result < 0) {
      status = -errno;
      continue;
    }
    if (connect(result, entry->ai_addr, entry->ai_addrlen) == 0) {
      prepare(result);
      status = result;
      break;
    }
    status = -errno;
    close(result);
  }
  freeaddrinfo(found);
  return status;
}

int csystem_set_receive_timeout(int socket, int milliseconds) {
  struct timeval time = {milliseconds / 1000, (milliseconds % 1000) * 1000};
  return setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) == 0 ? 0 : errno;
}

int csystem_send_all(int socket, const void *bytes, size_t count) {
  const char *next = bytes;
  while (count > 0) {
    ssize_t sent = send(socket, next, count, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return sent < 0 ? errno : EPIPE;
    next += sent;
    count -= (size_t)sent;
  }
  return 0;
}

int csystem_receive_all(int socket, void *bytes, size_t count) {
  char *next = bytes;
  while (count > 0) {
    ssize_t got = recv(socket, next, count, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) return ECONNRESET;
    if (got < 0) return errno == EAGAIN ? ETIMEDOUT : errno;
    next += got;
    count -= (size_t)got;
  }
  return 0;
}

void csystem_shutdown(int socket) { shutdown(socket, SHUT_RDWR); }

void csystem_close(int descriptor) { close(descriptor); }

void csystem_sleep_milliseconds(int milliseconds) {
  struct timespec time = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
  while (nanosleep(&time, &time) != 0 && errno == EINTR) {
  }
}

int csystem_host_name(char *name, size_t capacity) {
  if (gethostname(name, capacity) != 0) return errno;
  name[capacity - 1] = 0;
  return 0;
}
