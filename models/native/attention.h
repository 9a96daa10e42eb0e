// Keys and values of what a row may look at, and attention over them.
//
// Keys lie in tiles of 16 positions, so that the scores of 16 positions are one vector. Values lie position by position.
// Both are made of pairs of vectors, which bf16 stores interleaved: one read and two operations give both in float32.
//
//     keys      tile   dimensions 0 and 1 of 16 positions, 2 and 3, ...
//     values    position   dimensions 0 .. 15 and 16 .. 31, 32 .. 47 and 48 .. 63, ...

#pragma once

#include <memory>

#include "matrix.h"

namespace native {

constexpr int PAIR = 2 * LANES;

template <class T> inline void put(T* pair, int vector, int lane, float x);
template <> inline void put(float* pair, int vector, int lane, float x) { pair[vector * LANES + lane] = x; }
template <> inline void put(uint16_t* pair, int vector, int lane, float x) { pair[2 * lane + vector] = narrow(x); }

inline void get(const float* pair, Floats& first, Floats& second) {
    first = floats(pair);
    second = floats(pair + LANES);
}

inline void get(const uint16_t* pair, Floats& first, Floats& second) {
    Ints both = load<Ints>(pair);
    first = as_floats(both << 16);
    second = as_floats(both & ~0xffff);
}

struct Cache {
    int layers, slots, heads, head_dim, padded, window;  // padded: head_dim in whole pairs
    bool half;                                           // bf16, not float32
    std::unique_ptr<Memory> memory;

    int tiles() const { return (window + LANES - 1) / LANES; }
    size_t keys_size() const { return size_t(tiles()) * LANES * padded; }  // of one head; values take as much
    size_t size() const { return size_t(layers) * slots * heads * 2 * keys_size() * (half ? 2 : 4); }

    template <class T> T* keys(int layer, int slot, int head) const {
        return (T*)memory->data() + ((size_t(layer) * slots + slot) * heads + head) * 2 * keys_size();
    }
    template <class T> T* values(int layer, int slot, int head) const {
        return keys<T>(layer, slot, head) + keys_size();
    }
};

template <class T>
inline void write(const Cache& c, int layer, int slot, int head, int position, const float* key, const float* value) {
    int at = position % c.window;  // the oldest position makes room; attention does not care about the order
    T* keys = c.keys<T>(layer, slot, head) + size_t(at / LANES) * LANES * c.padded;
    T* values = c.values<T>(layer, slot, head) + size_t(at) * c.padded;
    for (int d = 0; d < c.head_dim; d++) {
        put<T>(keys + d / 2 * PAIR, d % 2, at % LANES, key[d]);
        put<T>(values + d / PAIR * PAIR, d % PAIR / LANES, d % LANES, value[d]);
    }
}

// Scores of N tiles of keys at a time, so that no sum waits for itself.
template <int N, class T> inline void score(const T* keys, int padded, const float* query, float* scores) {
    Floats even[N] = {}, odd[N] = {};
    for (int d = 0; d < padded; d += 2)
        for (int i = 0; i < N; i++) {
            Floats first, second;
            get(keys + size_t(i) * LANES * padded + d * LANES, first, second);
            even[i] += first * query[d];
            odd[i] += second * query[d + 1];
        }
    for (int i = 0; i < N; i++) store(scores + i * LANES, even[i] + odd[i]);
}

// out [padded] = softmax(query . keys) values over the first `count` positions; `scores` has room for all of them.
template <class T>
inline void attend(const Cache& c, int layer, int slot, int head, int count, const float* query, float* scores,
                   float* out) {
    const T* keys = c.keys<T>(layer, slot, head);
    const T* values = c.values<T>(layer, slot, head);
    int tiles = (count + LANES - 1) / LANES, tile = 0;
    for (; tile + 4 <= tiles; tile += 4)
        score<4>(keys + size_t(tile) * LANES * c.padded, c.padded, query, scores + tile * LANES);
    for (; tile < tiles; tile++)
        score<1>(keys + size_t(tile) * LANES * c.padded, c.padded, query, scores + tile * LANES);
    for (int t = count; t % LANES; t++) scores[t] = -INFINITY;
    Floats best = all(-INFINITY), total = {};
    for (int t = 0; t < count; t += LANES) best = max(best, floats(scores + t));
    float top = largest(best);
    for (int t = 0; t < count; t += LANES) {
        Floats score = floats(scores + t), share = exp(score - top);
        share = score == -INFINITY ? Floats{} : share;
        total += share;
        store(scores + t, share);
    }
    float scale = 1 / sum(total);
    for (int d = 0; d < c.padded; d += PAIR) {
        Floats acc[4][2] = {};  // positions in turn
        const T* value = values + d;
        for (int t = 0; t < count; t += 4)  // shares beyond are zero
            for (int i = 0; i < 4; i++, value += c.padded) {
                Floats first, second;
                get(value, first, second);
                acc[i][0] += first * scores[t + i];
                acc[i][1] += second * scores[t + i];
            }
        for (int i = 0; i < 2; i++)
            store(out + d + i * LANES, (acc[0][i] + acc[1][i] + acc[2][i] + acc[3][i]) * scale);
    }
}

}  // namespace native
