// Sixteen floats at a time, in the vector notation that GCC and Clang share, so that one text serves every processor.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace native {

constexpr int LANES = 16;

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef float Eight __attribute__((vector_size(32)));
typedef float Four __attribute__((vector_size(16)));

template <class V, class T> inline V load(const T* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

inline Floats floats(const float* p) { return load<Floats>(p); }
inline void store(float* p, Floats v) { std::memcpy(p, &v, sizeof v); }
inline Floats all(float x) { return Floats{} + x; }
inline Floats as_floats(Ints v) { return load<Floats>(&v); }
inline Ints as_ints(Floats v) { return load<Ints>(&v); }

// bf16 is the upper half of a float32.
inline Floats widen(const uint16_t* p) { return as_floats(__builtin_convertvector(load<Halves>(p), Ints) << 16); }

inline uint16_t narrow(float x) {  // to the nearest bf16, ties to even
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <class V> inline V max(V a, V b) { return a > b ? a : b; }
template <class V> inline V min(V a, V b) { return a < b ? a : b; }

// The lower half of a vector joined with its upper half, and so on down to one number; always in this order, so that a
// sum does not depend on the processor.
template <class F> inline float fold(Floats v, F join) {
    Eight low, high;  // lane by lane, because a vector whose address is taken would be kept in memory
    for (int i = 0; i < 8; i++) low[i] = v[i], high[i] = v[i + 8];
    low = join(low, high);
    Four first, second;
    for (int i = 0; i < 4; i++) first[i] = low[i], second[i] = low[i + 4];
    first = join(first, second);
    return join(join(first[0], first[2]), join(first[1], first[3]));
}

inline float sum(Floats v) { return fold(v, [](auto a, auto b) { return a + b; }); }
inline float largest(Floats v) { return fold(v, [](auto a, auto b) { return a > b ? a : b; }); }

constexpr float MAGIC = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits

inline Ints nearest(Floats x) { return as_ints(x + MAGIC) - as_ints(all(MAGIC)); }

// Polynomials of Moshier's Cephes library for float32, right to about one unit in the last place.
inline Floats exp(Floats x) {
    x = min(max(x, all(-87.3f)), all(88.3f));
    Ints n = nearest(x * 1.44269504f);
    Floats whole = __builtin_convertvector(n, Floats);
    Floats r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    Floats y = all(1.9875691500e-4f);
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    return y * as_floats((n + 127) << 23);
}

inline Floats log(Floats x) {  // of positive normal numbers
    Ints bits = as_ints(x);
    Floats e = __builtin_convertvector((bits >> 23) - 126, Floats);
    Floats m = as_floats((bits & 0x007fffff) | 0x3f000000);  // 0.5 .. 1
    auto small = m < 0.707106781f;
    e = small ? e - 1.0f : e;
    m = small ? m + m - 1.0f : m - 1.0f;
    Floats z = m * m;
    Floats y = all(7.0376836292e-2f);
    y = y * m - 1.1514610310e-1f;
    y = y * m + 1.1676998740e-1f;
    y = y * m - 1.2420140846e-1f;
    y = y * m + 1.4249322787e-1f;
    y = y * m - 1.6668057665e-1f;
    y = y * m + 2.0000714765e-1f;
    y = y * m - 2.4999993993e-1f;
    y = y * m + 3.3333331174e-1f;
    y = y * m * z - e * 2.12194440e-4f - 0.5f * z;
    return m + y + e * 0.693359375f;
}

inline Floats tanh(Floats x) { return 1.0f - 2.0f / (exp(x + x) + 1.0f); }

// Abramowitz and Stegun 1964, 7.1.26; off by 1.5e-7 at most.
inline Floats erf(Floats x) {
    Floats size = x < 0.0f ? -x : x;
    Floats t = 1.0f / (1.0f + 0.3275911f * size);
    Floats y = all(1.061405429f);
    y = y * t - 1.453152027f;
    y = y * t + 1.421413741f;
    y = y * t - 0.284496736f;
    y = y * t + 0.254829592f;
    y = 1.0f - y * t * exp(-size * size);
    return x < 0.0f ? -y : y;
}

inline int round_up(int n, int step) { return (n + step - 1) / step * step; }

}  // namespace native
