// CUDA C++ on the CPU, one thread at a time: enough of it for generated kernels.
//
// The threads of a block are coroutines. At a barrier or shuffle a thread waits until all that
// take part have come; where they never all come, the emulation says so and stops. A seed chooses
// the order of blocks, warps and threads; a warp runs on until it must wait for another one. A
// missing barrier then shows.
// This says nothing about speed, about the memory model of a GPU, or about CUDA's functions.

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <utility>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define __shared__ static // blocks run one after the other

struct hp_index {
    unsigned x, y, z;
};
static hp_index threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

const int MOST = 1024;
const size_t STACK = 1 << 17;
enum State { READY, AT_BARRIER, IN_WARP, DONE };

struct Thread {
    ucontext_t context;
    State state;
    unsigned members; // of the warp, that the thread waits for
    int turn;         // which of the two slots it writes next
    uint64_t slots[2];
};

static Thread threads[MOST];
static char *stacks;
static ucontext_t scheduler;
static int current;
static void (*body)(void *);
static void *argument;
static bool early; // copies that nobody waits for arrive at once, or as late as they may

static void run_thread()
{
    body(argument);
    threads[current].state = DONE;
    swapcontext(&threads[current].context, &scheduler);
}

static void wait(State state, unsigned members)
{
    Thread &mine = threads[current];
    mine.state = state;
    mine.members = members;
    swapcontext(&mine.context, &scheduler);
}

// Let go the threads of a warp that have met all others; whether there were any.
static bool release_warp(int first, int count)
{
    bool some = false;
    for (int t = first; t < first + 32 && t < count; ++t) {
        if (threads[t].state != IN_WARP)
            continue;
        const unsigned members = threads[t].members;
        bool all = members >> (t % 32) & 1;
        for (int other = 0; other < 32; ++other)
            if (members >> other & 1)
                all &= first + other < count && threads[first + other].state == IN_WARP &&
                       threads[first + other].members == members;
        for (int other = 0; all && other < 32; ++other)
            if (members >> other & 1)
                threads[first + other].state = READY, some = true;
    }
    return some;
}

static bool all_are(State state, int count)
{
    for (int t = 0; t < count; ++t)
        if (threads[t].state != state)
            return false;
    return true;
}

static void shuffle(int *order, int count, unsigned seed)
{
    for (int i = 0; i < count; ++i)
        order[i] = i;
    for (int i = count - 1; i > 0 && seed; --i) {
        seed = seed * 1664525u + 1013904223u;
        const int j = (seed >> 8) % (i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

// As far as it comes without other warps.
static void run_warp(int first, int count, unsigned seed)
{
    int order[32];
    shuffle(order, 32, seed);
    do {
        for (int i = 0; i < 32; ++i) {
            current = first + order[i];
            if (current >= count || threads[current].state != READY)
                continue;
            threadIdx.x = current;
            swapcontext(&scheduler, &threads[current].context);
        }
    } while (release_warp(first, count));
}

static bool run_block(int count, unsigned seed)
{
    static int order[MOST];
    if (!stacks)
        stacks = (char *)malloc(STACK * MOST);
    for (int t = 0; t < count; ++t) {
        Thread &thread = threads[t];
        thread.state = READY;
        thread.turn = 0;
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = stacks + STACK * t;
        thread.context.uc_stack.ss_size = STACK;
        makecontext(&thread.context, run_thread, 0);
    }
    const int warps = (count + 31) / 32;
    shuffle(order, warps, seed);
    for (;;) {
        for (int i = 0; i < warps; ++i)
            run_warp(order[i] * 32, count, seed);
        if (all_are(DONE, count))
            return true;
        if (!all_are(AT_BARRIER, count))
            return false; // some wait for others that have gone elsewhere
        for (int t = 0; t < count; ++t)
            threads[t].state = READY;
    }
}

template <class... A> struct Call {
    void (*kernel)(A...);
    void **values;
    template <size_t... I> void with(std::index_sequence<I...>)
    {
        kernel(*(A *)values[I]...);
    }
    static void run(void *self)
    {
        ((Call *)self)->with(std::index_sequence_for<A...>());
    }
};

template <class... A>
int launch(void (*kernel)(A...), unsigned x, unsigned y, unsigned block, void **values, unsigned seed)
{
    Call<A...> call = {kernel, values};
    body = Call<A...>::run;
    argument = &call;
    early = seed % 2;
    gridDim = {x, y, 1};
    blockDim = {block, 1, 1};
    int *order = (int *)malloc(sizeof(int) * x * y);
    shuffle(order, x * y, seed);
    bool met = true;
    for (unsigned i = 0; i < x * y && met; ++i) {
        blockIdx = {order[i] % x, order[i] / x, 0};
        met = run_block(block, seed ? seed + i : 0);
    }
    free(order);
    return met ? 0 : 1;
}

} // namespace emulator

static inline void __syncthreads()
{
    emulator::wait(emulator::AT_BARRIER, 0);
}

static inline void __syncwarp(unsigned members = 0xffffffffu)
{
    emulator::wait(emulator::IN_WARP, members);
}

template <class T> static inline T __shfl_xor_sync(unsigned members, T value, int distance)
{
    const int mine = emulator::current, turn = emulator::threads[mine].turn;
    memcpy(&emulator::threads[mine].slots[turn], &value, sizeof(T));
    emulator::threads[mine].turn = 1 - turn; // the other may not have read the last one yet
    emulator::wait(emulator::IN_WARP, members);
    memcpy(&value, &emulator::threads[mine ^ distance].slots[turn], sizeof(T));
    return value;
}

static inline unsigned __ballot_sync(unsigned members, int predicate)
{
    const int mine = emulator::current, turn = emulator::threads[mine].turn;
    const int first = mine / 32 * 32;
    emulator::threads[mine].slots[turn] = predicate != 0;
    emulator::threads[mine].turn = 1 - turn;
    emulator::wait(emulator::IN_WARP, members);
    unsigned all = 0;
    for (int other = 0; other < 32; ++other)
        if (members >> other & 1 && emulator::threads[first + other].slots[turn])
            all |= 1u << other;
    return all;
}

// One thread runs at a time, and only waiting gives way to another.
template <class T> static inline T atomicAdd(T *place, T value)
{
    const T before = *place;
    *place = before + value;
    return before;
}

template <class T> static inline T atomicMax(T *place, T value)
{
    const T before = *place;
    *place = before > value ? before : value;
    return before;
}

static inline int __popc(unsigned bits)
{
    return __builtin_popcount(bits);
}

#include "emulator_tensor.h"
