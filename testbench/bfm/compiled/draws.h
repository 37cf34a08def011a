// The random numbers that Python's `random.Random` would draw, and the latencies made of them (model/latency.py).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

// MT19937 from the state that `random.Random.getstate` tells.
class Random {
public:
    void set(const uint32_t *state) {
        memcpy(words_, state, sizeof words_);
        next_ = state[SIZE];
    }

    double draw() {
        uint32_t high = word() >> 5, low = word() >> 6;
        return (high * 67108864.0 + low) * (1.0 / 9007199254740992.0);
    }

private:
    static constexpr int SIZE = 624, SHIFT = 397;

    uint32_t word() {
        if (next_ >= SIZE) refill();
        uint32_t y = words_[next_++];
        y ^= y >> 11;
        y ^= y << 7 & 0x9d2c5680u;
        y ^= y << 15 & 0xefc60000u;
        return y ^ y >> 18;
    }

    void refill() {
        for (int i = 0; i < SIZE; i++) {
            uint32_t y = (words_[i] & 0x80000000u) | (words_[(i + 1) % SIZE] & 0x7fffffffu);
            words_[i] = words_[(i + SHIFT) % SIZE] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        next_ = 0;
    }

    uint32_t words_[SIZE] = {};
    uint32_t next_ = SIZE;
};

struct Profile {
    double logs[6];             // of the times in ns; unused if `instant`
    double per_byte, after_write_least, after_write_most;
    int32_t instant, unused;
};

class Latency {
public:
    Profile profile;
    Random random;

    // ns of a read of a line, `since_write` ns after the last write.
    double round_trip(double since_write) {
        double time = profile.instant ? 0.0 : draw();
        if (since_write < profile.after_write_most) {
            double least = profile.after_write_least, most = profile.after_write_most;
            double settled = least + (most - least) * random.draw();
            time += std::max(0.0, settled - since_write);
        }
        return time;
    }

private:
    double draw() {
        static const double quantiles[] = {0.0, 0.5, 0.95, 0.99, 0.999, 1.0};
        double u = random.draw();
        int i = 4;
        while (quantiles[i] > u) i--;
        const double *logs = profile.logs;
        return std::exp(logs[i] + (logs[i + 1] - logs[i]) * (u - quantiles[i]) / (quantiles[i + 1] - quantiles[i]));
    }
};
