// Matrices [n, k] packed for products with a handful of rows: every weight is read once, in the order of memory.
//
// A panel is 32 outputs wide and all of k long. Inside, k advances in groups and the 32 outputs lie side by side, so an
// accumulator lane belongs to one output and nothing is added across lanes:
//
//     fp32  32 floats an input          int8  32 * 4 codes for every 4 inputs (the 4 of an output are neighbours)
//     bf16  32 pairs for every 2        int4  as int8; a byte holds a code of 4 inputs and of the 4 after those
//
// An output's sum runs over k in one fixed order, whatever rows and panels are computed beside it. So a row comes out
// the same to the bit alone and in any batch, on any number of threads.

#pragma once

#include <vector>

#if defined(__AVX512VNNI__) || defined(__AVX2__)
#include <immintrin.h>
#endif
#include <sys/mman.h>

#include "vector.h"

namespace native {

enum Precision { FP32, BF16, INT8, INT4 };

constexpr int PANEL = 32;  // outputs
constexpr int BLOCK = 64;  // inputs that share a scale
constexpr int TILE = 6;    // rows whose accumulators fit into the registers

typedef uint8_t Bytes __attribute__((vector_size(64)));

// Zeros in huge pages, as far as whole ones fit and the system has them: weights are read from end to end in every step.
// A mapping of its own leaves no holes between the float32 matrices that come and go while a model is packed.
class Memory {
  public:
    explicit Memory(size_t bytes) : size_(bytes + PAGE) {
        base_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base_ == MAP_FAILED) return;
        data_ = (char*)((uintptr_t(base_) + PAGE - 1) / PAGE * PAGE);
#ifdef MADV_HUGEPAGE
        if (bytes >= PAGE) madvise(data_, bytes / PAGE * PAGE, MADV_HUGEPAGE);
#endif
    }
    ~Memory() {
        if (data_) munmap(base_, size_);
    }
    Memory(const Memory&) = delete;

    char* data() const { return data_; }  // null: there was none

  private:
    static constexpr size_t PAGE = size_t(1) << 21;
    size_t size_;
    void* base_;
    char* data_ = nullptr;
};

struct Matrix {
    int precision, n, k;    // k rounded up to whole blocks, n to whole panels
    size_t panel_bytes;
    char* data;
    float* scales;           // int8: [n]
    uint16_t* block_scales;  // int4: [panels, blocks, PANEL] bf16
    Memory memory;           // of all of them

    int panels() const { return n / PANEL; }
    int blocks() const { return k / BLOCK; }
};

// The rows of a product, as the kernel of a precision wants them.
struct Rows {
    int stride, blocks;
    const float* wide;    // [rows, stride]
    const int8_t* codes;  // [rows, stride], codes * scale is near the values
    const float* scales;  // [rows, blocks]
    const float* sums;    // [rows, blocks]: what the offset of unsigned weights adds to a block
};

// acc[lane] += the four products of the bytes of a lane, unsigned weights with signed inputs. Weights are stored as
// code + 128, and where an instruction wants signed weights the offset is taken off again.
#if defined(__AVX512VNNI__)
constexpr float OFFSET = 128;
inline Ints dot(Ints acc, Bytes w, int32_t x) {
    return Ints(_mm512_dpbusd_epi32(__m512i(acc), __m512i(w), _mm512_set1_epi32(x)));
}
inline Ints dot_small(Ints acc, Bytes w, int32_t x) { return dot(acc, w, x); }
#elif defined(__AVX2__)
constexpr float OFFSET = 0;
inline __m256i half_dot(__m256i acc, __m256i w, __m256i x) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
}
template <class F> inline Ints halves(Ints acc, Bytes w, int32_t x, F f) {
    __m256i a[2], b[2], v = _mm256_set1_epi32(x);
    std::memcpy(a, &acc, 64);
    std::memcpy(b, &w, 64);
    for (int i = 0; i < 2; i++) a[i] = f(a[i], b[i], v);
    return load<Ints>(a);
}
inline Ints dot(Ints acc, Bytes w, int32_t x) {  // |x| * (sign of x) w: no pair of products leaves 16 bits
    return halves(acc, w, x, [](__m256i a, __m256i b, __m256i v) {
        __m256i plain = _mm256_xor_si256(b, _mm256_set1_epi8(-128));
        return half_dot(a, _mm256_abs_epi8(v), _mm256_sign_epi8(plain, v));
    });
}
inline Ints dot_small(Ints acc, Bytes w, int32_t x) { return halves(acc, w, x, half_dot); }  // weights below 16
#else
constexpr float OFFSET = 128;
inline Ints dot(Ints acc, Bytes w, int32_t x) {
    int8_t codes[4];
    std::memcpy(codes, &x, 4);
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < 4; j++) acc[i] += int(w[4 * i + j]) * codes[j];
    return acc;
}
inline Ints dot_small(Ints acc, Bytes w, int32_t x) { return dot(acc, w, x); }
#endif
constexpr float OFFSET_4 = 8;

// Asks for the weights of soon: the processor does so by itself, but not across the borders of its pages of 4 KiB.
inline void fetch(const void* w) {
    __builtin_prefetch((const char*)w + 2048);
    __builtin_prefetch((const char*)w + 2048 + 64);
}

// A kernel computes R rows of one panel: out[r][0..1] are its 32 outputs.
template <int R> struct Tile {
    Floats out[R][2];
};

template <int R> inline void fp32(const Matrix& m, int panel, const Rows& x, int row, Tile<R>& t) {
    const float* w = (const float*)(m.data + panel * m.panel_bytes);
    const float* in = x.wide + size_t(row) * x.stride;
    for (int k = 0; k < m.k; k++, w += PANEL) {
        fetch(w);
        Floats w0 = floats(w), w1 = floats(w + LANES);
        for (int r = 0; r < R; r++) {
            float v = in[size_t(r) * x.stride + k];
            t.out[r][0] += w0 * v;
            t.out[r][1] += w1 * v;
        }
    }
}

template <int R> inline void bf16(const Matrix& m, int panel, const Rows& x, int row, Tile<R>& t) {
    const int32_t* w = (const int32_t*)(m.data + panel * m.panel_bytes);
    const float* in = x.wide + size_t(row) * x.stride;
    for (int k = 0; k < m.k; k += 2, w += PANEL) {
        fetch(w);
        Ints p0 = load<Ints>(w), p1 = load<Ints>(w + LANES);
        Floats even0 = as_floats(p0 << 16), even1 = as_floats(p1 << 16);
        Floats odd0 = as_floats(p0 & ~0xffff), odd1 = as_floats(p1 & ~0xffff);
        for (int r = 0; r < R; r++) {
            float v0 = in[size_t(r) * x.stride + k], v1 = in[size_t(r) * x.stride + k + 1];
            t.out[r][0] = (t.out[r][0] + even0 * v0) + odd0 * v1;
            t.out[r][1] = (t.out[r][1] + even1 * v0) + odd1 * v1;
        }
    }
}

template <int R> inline void int8(const Matrix& m, int panel, const Rows& x, int row, Tile<R>& t) {
    const uint8_t* w = (const uint8_t*)(m.data + panel * m.panel_bytes);
    for (int b = 0; b < m.blocks(); b++) {
        Ints acc[R][2] = {};
        for (int k = b * BLOCK; k < (b + 1) * BLOCK; k += 4, w += 4 * PANEL) {
            fetch(w);
            Bytes w0 = load<Bytes>(w), w1 = load<Bytes>(w + 64);
            for (int r = 0; r < R; r++) {
                int32_t v;
                std::memcpy(&v, x.codes + size_t(row + r) * x.stride + k, 4);
                acc[r][0] = dot(acc[r][0], w0, v);
                acc[r][1] = dot(acc[r][1], w1, v);
            }
        }
        for (int r = 0; r < R; r++) {
            size_t at = size_t(row + r) * x.blocks + b;
            float shift = OFFSET * x.sums[at], scale = x.scales[at];
            for (int i = 0; i < 2; i++) t.out[r][i] += (__builtin_convertvector(acc[r][i], Floats) - shift) * scale;
        }
    }
    for (int i = 0; i < 2; i++) {
        Floats scale = floats(m.scales + panel * PANEL + i * LANES);
        for (int r = 0; r < R; r++) t.out[r][i] *= scale;
    }
}

template <int R> inline void int4(const Matrix& m, int panel, const Rows& x, int row, Tile<R>& t) {
    const uint8_t* w = (const uint8_t*)(m.data + panel * m.panel_bytes);
    const uint16_t* scales = m.block_scales + size_t(panel) * m.blocks() * PANEL;
    for (int b = 0; b < m.blocks(); b++, scales += PANEL) {
        Ints acc[R][2] = {};
        for (int k = b * BLOCK; k < (b + 1) * BLOCK; k += 8, w += 4 * PANEL) {
            fetch(w);
            for (int i = 0; i < 2; i++) {
                Bytes both = load<Bytes>(w + 64 * i);
                Bytes low = both & 15, high = (both >> 4) & 15;
                for (int r = 0; r < R; r++) {
                    int32_t v[2];
                    std::memcpy(v, x.codes + size_t(row + r) * x.stride + k, 8);
                    acc[r][i] = dot_small(dot_small(acc[r][i], low, v[0]), high, v[1]);
                }
            }
        }
        for (int r = 0; r < R; r++) {
            size_t at = size_t(row + r) * x.blocks + b;
            float shift = OFFSET_4 * x.sums[at], scale = x.scales[at];
            for (int i = 0; i < 2; i++) {
                Floats exact = __builtin_convertvector(acc[r][i], Floats) - shift;
                t.out[r][i] += exact * (widen(scales + i * LANES) * scale);
            }
        }
    }
}

template <int R> inline Tile<R> product(const Matrix& m, int panel, const Rows& x, int row) {
    Tile<R> t = {};
    switch (m.precision) {
        case FP32: fp32<R>(m, panel, x, row, t); break;
        case BF16: bf16<R>(m, panel, x, row, t); break;
        case INT8: int8<R>(m, panel, x, row, t); break;
        default: int4<R>(m, panel, x, row, t);
    }
    return t;
}

// Round rows [rows, stride] to int8 with a scale a block.
inline void quantise(const float* x, int rows, int stride, int k, int8_t* codes, float* scales, float* sums) {
    int blocks = k / BLOCK;
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < blocks; b++) {
            const float* in = x + size_t(r) * stride + b * BLOCK;
            Floats v[4], top = {};
            for (int i = 0; i < 4; i++) {
                v[i] = floats(in + i * LANES);
                top = max(top, max(v[i], -v[i]));
            }
            float peak = largest(top), inverse = peak > 0 ? 127 / peak : 0;
            Ints total = {};
            for (int i = 0; i < 4; i++) {
                Ints q = nearest(v[i] * inverse);
                total += q;
                typedef int8_t Codes __attribute__((vector_size(LANES)));
                Codes small = __builtin_convertvector(q, Codes);
                std::memcpy(codes + size_t(r) * stride + b * BLOCK + i * LANES, &small, LANES);
            }
            scales[size_t(r) * blocks + b] = peak / 127;
            sums[size_t(r) * blocks + b] = sum(__builtin_convertvector(total, Floats));
        }
}

}  // namespace native
