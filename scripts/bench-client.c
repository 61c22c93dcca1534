/* A load generator for one NBD connection, on libnbd's asynchronous calls. It exists because fio's nbd
 * engine notices a finished flush only once a millisecond and cannot ask for FUA.
 *
 * One command stream, `depth` commands in flight, offsets random (or sequential) and aligned to the block
 * size. Prints one JSON object: operations are writes or reads; flushes are counted beside them.
 * With --flush it sends one flush and nothing else, and prints how long that took.
 * Exit: 0 done; 1 the server failed a command or the connection; 2 usage.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <libnbd.h>

static const char *uri, *psk_file;
static uint64_t size_bytes, block_bytes = 4096;
static unsigned depth = 1, flush_every = 0;
static double seconds = 3;
static bool fua = false, reading = false, sequential = false, flushing = false;

/* Latency counts: 32 steps to each power of two of nanoseconds, so 3 % wide. */
#define STEPS 32
static uint64_t histogram[64 * STEPS];
static uint64_t latency_max_ns;

struct slot {
  char *buffer;
  uint64_t started_ns;
  bool is_flush;
};

static unsigned *free_slots, free_count;
static struct slot *slots;
static uint64_t operations, flushes;

static uint64_t now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t random_state;
static uint64_t random_next(void)
{
  uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static unsigned bucket_of(uint64_t ns)
{
  if (ns < STEPS) return (unsigned)ns;
  unsigned power = 63 - (unsigned)__builtin_clzll(ns);
  return (power - 4) * STEPS + (unsigned)((ns >> (power - 5)) - STEPS);
}

static uint64_t bucket_end(unsigned bucket)
{
  if (bucket < STEPS) return bucket;
  unsigned power = bucket / STEPS + 4;
  return ((uint64_t)(bucket % STEPS + STEPS + 1) << (power - 5)) - 1;
}

static double percentile_us(double fraction)
{
  uint64_t total = 0, seen = 0;
  for (unsigned i = 0; i < 64 * STEPS; i++) total += histogram[i];
  for (unsigned i = 0; i < 64 * STEPS; i++) {
    seen += histogram[i];
    if (total > 0 && seen >= fraction * total) return bucket_end(i) / 1000.0;
  }
  return 0;
}

static void fail(const char *what)
{
  fprintf(stderr, "bench-client: %s: %s\n", what, nbd_get_error());
  exit(1);
}

static int completed(void *opaque, int *error)
{
  struct slot *slot = opaque;
  if (*error) {
    fprintf(stderr, "bench-client: %s failed: %s\n",
            slot->is_flush ? "flush" : reading ? "read" : "write", strerror(*error));
    exit(1);
  }
  uint64_t took = now_ns() - slot->started_ns;
  if (slot->is_flush) {
    flushes++;
  } else {
    operations++;
    histogram[bucket_of(took)]++;
    if (took > latency_max_ns) latency_max_ns = took;
  }
  free_slots[free_count++] = (unsigned)(slot - slots);
  return 1; /* retires the command */
}

static void issue(struct nbd_handle *nbd)
{
  static uint64_t writes_since_flush = 0, next_block = 0;
  struct slot *slot = &slots[free_slots[--free_count]];
  nbd_completion_callback done = { .callback = completed, .user_data = slot };
  int64_t cookie;

  slot->started_ns = now_ns();
  slot->is_flush = flush_every > 0 && writes_since_flush == flush_every;
  if (slot->is_flush) {
    writes_since_flush = 0;
    cookie = nbd_aio_flush(nbd, done, 0);
  } else {
    uint64_t blocks = size_bytes / block_bytes;
    uint64_t offset = (sequential ? next_block++ % blocks : random_next() % blocks) * block_bytes;
    if (reading) {
      cookie = nbd_aio_pread(nbd, slot->buffer, block_bytes, offset, done, 0);
    } else {
      writes_since_flush++;
      /* No two writes carry the same block, so that nothing can be elided. */
      uint64_t stamp = random_next();
      memcpy(slot->buffer, &stamp, sizeof stamp);
      cookie = nbd_aio_pwrite(nbd, slot->buffer, block_bytes, offset, done,
                              fua ? LIBNBD_CMD_FLAG_FUA : 0);
    }
  }
  if (cookie == -1) fail("issue");
}

static void run(struct nbd_handle *nbd)
{
  uint64_t start = now_ns(), deadline = start + (uint64_t)(seconds * 1e9);
  while (now_ns() < deadline) {
    while (free_count > 0) issue(nbd);
    if (nbd_poll(nbd, -1) == -1) fail("poll");
  }
  while (free_count < depth)
    if (nbd_poll(nbd, -1) == -1) fail("poll");
  double took = (now_ns() - start) / 1e9;

  printf("{\"operations\":%" PRIu64 ",\"flushes\":%" PRIu64 ",\"bytes\":%" PRIu64
         ",\"seconds\":%.6f,\"latencyMicroseconds\":{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}}\n",
         operations, flushes, operations * block_bytes, took, percentile_us(0.5),
         percentile_us(0.99), percentile_us(0.999), latency_max_ns / 1000.0);
}

/* What other connections wrote before is durable then. */
static void flush_once(struct nbd_handle *nbd)
{
  uint64_t start = now_ns();
  if (nbd_flush(nbd, 0) == -1) fail("flush");
  printf("{\"seconds\":%.6f}\n", (now_ns() - start) / 1e9);
}

static void usage(void)
{
  fputs("usage: bench-client --uri URI [--seconds S] [--depth N] [--block-size BYTES] [--size BYTES]\n"
        "                    [--read] [--fua] [--flush-every N] [--sequential] [--tls-psk-file FILE]\n"
        "       bench-client --uri URI --flush [--tls-psk-file FILE]\n",
        stderr);
  exit(2);
}

int main(int argc, char **argv)
{
  static const struct option options[] = {
    { "uri", required_argument, 0, 'u' },        { "seconds", required_argument, 0, 's' },
    { "depth", required_argument, 0, 'd' },      { "block-size", required_argument, 0, 'b' },
    { "size", required_argument, 0, 'z' },       { "read", no_argument, 0, 'r' },
    { "fua", no_argument, 0, 'f' },              { "flush-every", required_argument, 0, 'e' },
    { "sequential", no_argument, 0, 'q' },       { "tls-psk-file", required_argument, 0, 'p' },
    { "flush", no_argument, 0, 'l' },
    { 0 },
  };
  int option;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    switch (option) {
    case 'u': uri = optarg; break;
    case 's': seconds = atof(optarg); break;
    case 'd': depth = (unsigned)atoi(optarg); break;
    case 'b': block_bytes = strtoull(optarg, NULL, 10); break;
    case 'z': size_bytes = strtoull(optarg, NULL, 10); break;
    case 'r': reading = true; break;
    case 'f': fua = true; break;
    case 'e': flush_every = (unsigned)atoi(optarg); break;
    case 'q': sequential = true; break;
    case 'p': psk_file = optarg; break;
    case 'l': flushing = true; break;
    default: usage();
    }
  }
  if (uri == NULL || optind != argc || depth == 0 || block_bytes < 512 || seconds <= 0) usage();

  struct nbd_handle *nbd = nbd_create();
  if (nbd == NULL) fail("create");
  if (psk_file && nbd_set_tls_psk_file(nbd, psk_file) == -1) fail("pre-shared keys");
  if (nbd_connect_uri(nbd, uri) == -1) fail("connect");
  if (flushing) {
    flush_once(nbd);
    nbd_shutdown(nbd, 0);
    nbd_close(nbd);
    return 0;
  }
  int64_t export_bytes = nbd_get_size(nbd);
  if (export_bytes < (int64_t)block_bytes) fail("size");
  if (size_bytes == 0 || size_bytes > (uint64_t)export_bytes) size_bytes = (uint64_t)export_bytes;

  random_state = now_ns();
  slots = calloc(depth, sizeof *slots);
  free_slots = calloc(depth, sizeof *free_slots);
  for (unsigned i = 0; i < depth; i++) {
    slots[i].buffer = malloc(block_bytes);
    for (uint64_t at = 0; at + 8 <= block_bytes; at += 8) {
      uint64_t word = random_next();
      memcpy(slots[i].buffer + at, &word, 8);
    }
    free_slots[free_count++] = i;
  }
  run(nbd);
  nbd_shutdown(nbd, 0);
  nbd_close(nbd);
  return 0;
}
