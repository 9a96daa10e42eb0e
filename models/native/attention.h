// Keys and values of what a row may look at, and attention over them.
//
// Keys lie in tiles of 16 positions, so that the scores of 16 positions are one vector:
//
//     keys    [positions / 16, head_dim, 16]        values  [positions, head_dim]        per layer, slot and head

#pragma once

#include "matrix.h"

namespace native {

struct Cache {
    int layers, slots, heads, head_dim, padded, window;  // padded: head_dim in whole vectors
    bool half;                                           // bf16, not float32
    char* data;

    int tiles() const { return (window + LANES - 1) / LANES; }
    size_t keys_size() const { return size_t(tiles()) * LANES * padded; }  // of one head; values take as much
    size_t size() const { return size_t(layers) * slots * heads * 2 * keys_size() * (half ? 2 : 4); }

    template <class T> T* keys(int layer, int slot, int head) const {
        return (T*)data + ((size_t(layer) * slots + slot) * heads + head) * 2 * keys_size();
    }
    template <class T> T* values(int layer, int slot, int head) const {
        return keys<T>(layer, slot, head) + keys_size();
    }
};

template <class T> inline Floats wide(const T* p);
template <> inline Floats wide<float>(const float* p) { return floats(p); }
template <> inline Floats wide<uint16_t>(const uint16_t* p) { return widen(p); }
inline void put(float* p, float x) { *p = x; }
inline void put(uint16_t* p, float x) { *p = narrow(x); }

template <class T>
inline void write(const Cache& c, int layer, int slot, int head, int position, const float* key, const float* value) {
    int at = position % c.window;  // the oldest position makes room; attention does not care about the order
    T* keys = c.keys<T>(layer, slot, head) + size_t(at / LANES) * LANES * c.padded + at % LANES;
    T* values = c.values<T>(layer, slot, head) + size_t(at) * c.padded;
    for (int d = 0; d < c.head_dim; d++) {
        put(keys + d * LANES, key[d]);
        put(values + d, value[d]);
    }
}

// out [padded] = softmax(query . keys) values over the first `count` positions; `scores` has room for all of them.
template <class T>
inline void attend(const Cache& c, int layer, int slot, int head, int count, const float* query, float* scores,
                   float* out) {
    const T* keys = c.keys<T>(layer, slot, head);
    const T* values = c.values<T>(layer, slot, head);
    Floats best = all(-INFINITY);
    for (int t = 0; t < count; t += LANES, keys += size_t(LANES) * c.padded) {
        Floats even = {}, odd = {};
        for (int d = 0; d < c.padded; d += 2) {
            even += wide(keys + d * LANES) * query[d];
            odd += wide(keys + (d + 1) * LANES) * query[d + 1];
        }
        Floats score = even + odd;
        for (int i = count - t; i < LANES; i++) score[i] = -INFINITY;
        best = max(best, score);
        store(scores + t, score);
    }
    float top = largest(best);
    Floats total = {};
    for (int t = 0; t < count; t += LANES) {
        Floats share = exp(floats(scores + t) - top);
        for (int i = count - t; i < LANES; i++) share[i] = 0;
        total += share;
        store(scores + t, share);
    }
    float scale = 1 / sum(total);
    for (int d = 0; d < c.padded; d += 4 * LANES) {  // four vectors at a time stay in registers
        int width = c.padded - d < 4 * LANES ? (c.padded - d) / LANES : 4;
        Floats acc[4] = {};
        const T* value = values + d;
        if (width == 4)
            for (int t = 0; t < count; t++, value += c.padded)
                for (int i = 0; i < 4; i++) acc[i] += wide(value + i * LANES) * scores[t];
        else
            for (int t = 0; t < count; t++, value += c.padded)
                for (int i = 0; i < width; i++) acc[i] += wide(value + i * LANES) * scores[t];
        for (int i = 0; i < width; i++) store(out + d + i * LANES, acc[i] * scale);
    }
}

}  // namespace native
