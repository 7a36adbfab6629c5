// What tensor cores do, and copies that nobody waits for: the names of routines/tensor.cu.

#include <vector>

static inline float hp_from_float16(uint16_t half); // both of the prelude
static inline float hp_from_bfloat16(uint16_t half);

namespace emulator {

static uint32_t shown[2][MOST][6]; // what the threads of a warp show each other
static const void *rows_shown[2][MOST];

struct Copy {
    void *to;
    const void *from;
    bool there;
};
static std::vector<Copy> pending[MOST]; // of a thread, in the order in which they were sent
static size_t sent[MOST], last_sent[MOST];

static int next_turn()
{
    const int turn = threads[current].turn;
    threads[current].turn = 1 - turn;
    return turn;
}

template <float (*NUMBER)(uint16_t)> static void mma(float *c, const uint32_t *a, uint32_t b0, uint32_t b1)
{
    const int mine = current, turn = next_turn(), first = mine / 32 * 32, lane = mine % 32;
    memcpy(shown[turn][mine], a, 16);
    shown[turn][mine][4] = b0, shown[turn][mine][5] = b1;
    wait(IN_WARP, 0xffffffffu);
    for (int e = 0; e < 4; ++e) {
        const int row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
        for (int k = 0; k < 16; ++k) {
            const int t = k % 8 / 2, high = k / 8;
            const uint32_t x = shown[turn][first + row % 8 * 4 + t][row / 8 + 2 * high];
            const uint32_t y = shown[turn][first + column * 4 + t][4 + high];
            c[e] += NUMBER((uint16_t)(x >> k % 2 * 16)) * NUMBER((uint16_t)(y >> k % 2 * 16));
        }
    }
}

static void matrices(uint32_t *into, const void *row, bool turned)
{
    const int mine = current, turn = next_turn(), first = mine / 32 * 32;
    const int g = mine % 32 / 4, t = mine % 4;
    rows_shown[turn][mine] = row;
    wait(IN_WARP, 0xffffffffu);
    for (int m = 0; m < 4; ++m) {
        uint16_t pair[2];
        for (int e = 0; e < 2; ++e) {
            const int i = turned ? 2 * t + e : g, j = turned ? g : 2 * t + e;
            pair[e] = ((const uint16_t *)rows_shown[turn][first + 8 * m + i])[j];
        }
        into[m] = pair[0] | (uint32_t)pair[1] << 16;
    }
}

static void arrive(const Copy &copy)
{
    if (copy.there)
        memcpy(copy.to, copy.from, 16);
    else
        memset(copy.to, 0, 16);
}

static void receive(size_t count)
{
    std::vector<Copy> &mine = pending[current];
    for (size_t i = 0; i < count; ++i)
        if (!early)
            arrive(mine[i]);
    mine.erase(mine.begin(), mine.begin() + count);
}

} // namespace emulator

static inline void hp_mma_bfloat16(float *c, const uint32_t *a, uint32_t b0, uint32_t b1)
{
    emulator::mma<hp_from_bfloat16>(c, a, b0, b1);
}

static inline void hp_mma_float16(float *c, const uint32_t *a, uint32_t b0, uint32_t b1)
{
    emulator::mma<hp_from_float16>(c, a, b0, b1);
}

static inline void hp_matrices(uint32_t *into, const void *row)
{
    emulator::matrices(into, row, false);
}

static inline void hp_turned_matrices(uint32_t *into, const void *row)
{
    emulator::matrices(into, row, true);
}

static inline void hp_send_16(void *to, const void *from, bool there)
{
    emulator::pending[emulator::current].push_back({to, from, there});
    if (emulator::early)
        emulator::arrive({to, from, there});
}

static inline void hp_end_group()
{
    const int mine = emulator::current;
    emulator::last_sent[mine] = emulator::pending[mine].size() - emulator::sent[mine];
    emulator::sent[mine] = emulator::pending[mine].size();
}

static inline void hp_wait_but_one()
{
    const int mine = emulator::current;
    emulator::receive(emulator::sent[mine] - emulator::last_sent[mine]);
    emulator::sent[mine] = emulator::last_sent[mine];
}

static inline void hp_wait_for_all()
{
    emulator::receive(emulator::sent[emulator::current]);
    emulator::sent[emulator::current] = emulator::last_sent[emulator::current] = 0;
}
