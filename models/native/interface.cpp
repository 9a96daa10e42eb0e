// What Python calls, by ctypes.

#include "machine.h"
#include "packing.h"

using namespace native;

extern "C" {

// Sizes of the records that Python writes, to find out at once if the two sides disagree.
void record_sizes(int32_t* sizes) {
    int32_t found[] = {sizeof(Op), sizeof(Row), sizeof(Group), sizeof(Call)};
    std::memcpy(sizes, found, sizeof found);
}

// Which instructions int8 products use.
const char* instructions() {
#if defined(__AVX512VNNI__)
    return "AVX512-VNNI";
#elif defined(__AVX2__)
    return "AVX2";
#else
    return "no vector instructions of its own";
#endif
}

Matrix* matrix_new(int precision, int n, int k) { return new_matrix(precision, n, k); }
void matrix_free(Matrix* m) { delete m; }
int64_t matrix_bytes(const Matrix* m) { return int64_t(m->panel_bytes) * m->panels(); }

// Outputs first .. first + count - 1, from w [count, k]; scales [count] or null.
void matrix_pack(Matrix* m, int first, int count, const float* w, int k, const float* scales) {
    for (int i = 0; i < count; i++) pack_row(*m, first + i, w + size_t(i) * k, k, scales ? scales[i] : 0);
}

Cache* cache_new(int layers, int slots, int heads, int head_dim, int window, int half) {
    auto* c = new Cache{layers, slots, heads, head_dim, round_up(head_dim, PAIR), window, half != 0, nullptr};
    c->memory = std::make_unique<Memory>(c->size());
    if (c->memory->data()) return c;
    delete c;
    return nullptr;
}

void cache_free(Cache* c) { delete c; }
int64_t cache_bytes(const Cache* c) { return int64_t(c->size()); }

// Keys and values [heads, count, head_dim] of positions first .. first + count - 1.
void cache_write(Cache* c, int layer, int slot, int first, int count, const float* keys, const float* values) {
    for (int h = 0; h < c->heads; h++)
        for (int t = 0; t < count; t++) {
            size_t at = (size_t(h) * count + t) * c->head_dim;
            if (c->half) write<uint16_t>(*c, layer, slot, h, first + t, keys + at, values + at);
            else write<float>(*c, layer, slot, h, first + t, keys + at, values + at);
        }
}

// Buffers of the given widths; `machine_make_room` says for how many rows.
Machine* machine_new(int threads, const int32_t* widths, int count) { return new Machine(threads, widths, count); }
void machine_make_room(Machine* m, int rows) { m->make_room(rows); }

void machine_free(Machine* m) { delete m; }
void machine_run(Machine* m, const Call* call) { m->run(*call); }

void machine_read(Machine* m, int buffer, int first, int count, float* out) {
    Buffer& b = m->buffer(buffer);
    for (int r = 0; r < count; r++) std::memcpy(out + size_t(r) * b.width, b.row(first + r), size_t(b.width) * 4);
}
}
