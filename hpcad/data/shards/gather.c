/* Pieces of open files, read into memory in one call.
 *
 * Reading thousands of samples one by one from Python costs as much as the copies themselves. Here
 * a whole batch is one call, without the interpreter's lock, so several threads really read at the
 * same time. pread keeps no position, so threads and forked processes may share a descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

/* Bytes of one request: what lies together is asked for together, but no request is so long that
 * an interruption costs much. */
#define LONGEST (64L << 20)

typedef struct {
    const int64_t *files;  /* descriptor of each piece */
    const int64_t *starts; /* its first byte in the file */
    const int64_t *sizes;  /* its bytes */
    const int64_t *places; /* where in the target it goes */
} hp_pieces;

enum { REQUESTS, ERRNO }; /* places in the report; errno 0: the file is too short */
#define OUTSIDE (-1L)

/* Whether piece i continues piece i - 1, in the file and in memory. */
static int continues(hp_pieces p, long i)
{
    return p.files[i] == p.files[i - 1] && p.starts[i] == p.starts[i - 1] + p.sizes[i - 1] &&
           p.places[i] == p.places[i - 1] + p.sizes[i - 1];
}

static int all_inside(hp_pieces p, long count, int64_t room)
{
    int inside = 1;
    for (long i = 0; i < count; i++) /* without additions that could overflow */
        inside &= p.sizes[i] >= 0 && p.sizes[i] <= room && p.places[i] >= 0 &&
                  p.places[i] <= room - p.sizes[i];
    return inside;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Whether a request took so long that its bytes cannot have been in memory: 100 us and 1 GB/s. */
static int from_storage(double taken, int64_t size)
{
    return taken > 1e-4 + 1e-9 * (double)size;
}

/* Storage answers many requests in hardly more time than one, so tell it all that is to come. */
static void announce(hp_pieces p, long first, long count)
{
    for (long i = first; i < count; i++)
        posix_fadvise((int)p.files[i], p.starts[i], p.sizes[i], POSIX_FADV_WILLNEED);
}

/* `table` holds the four columns one after the other, `room` is the bytes of the target. Returns
 * the number of pieces when all were read; the first piece of the request that failed; or OUTSIDE,
 * and nothing was read. */
long hp_gather(const int64_t *table, long count, char *target, long room, long *report)
{
    hp_pieces p = {table, table + count, table + 2 * count, table + 3 * count};
    if (!all_inside(p, count, room))
        return OUTSIDE;
    long first = 0;
    int announced = 0;
    while (first < count) {
        int64_t size = p.sizes[first];
        long next = first + 1;
        while (next < count && size < LONGEST && continues(p, next))
            size += p.sizes[next++];
        double began = announced ? 0.0 : seconds();
        for (int64_t done = 0; done < size;) {
            ssize_t got = pread((int)p.files[first], target + p.places[first] + done,
                                (size_t)(size - done), p.starts[first] + done);
            report[REQUESTS]++;
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0) {
                report[ERRNO] = got < 0 ? errno : 0;
                return first;
            }
            done += got;
        }
        if (!announced && from_storage(seconds() - began, size)) {
            announce(p, next, count);
            announced = 1;
        }
        first = next;
    }
    return first;
}
