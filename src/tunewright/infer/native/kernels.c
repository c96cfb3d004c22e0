/* The element-wise parts of a training step, each in one pass over memory. Compiled on the machine that it runs on.

   Tensors are contiguous, bf16 or fp32 in and out, fp32 inside. Rows are divided among `threads` in one fixed way, and what is
   summed over rows is summed in fixed blocks, so that the same inputs give the same bits whatever the number of threads.
   No function allocates, fails or keeps anything. */

#include <stdint.h>
#include <string.h>

typedef uint16_t bf16;
typedef int64_t size;

#define EACH_ROW _Pragma("omp parallel for schedule(static) num_threads(threads)")

static inline float up(bf16 value) {
    uint32_t bits = (uint32_t)value << 16;
    float found;
    memcpy(&found, &bits, 4);
    return found;
}

/* To the nearest, ties to even; a NaN stays one. */
static inline bf16 down(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (bf16)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

/* exp by 2^n * polynomial: within 2 units in the last place between -87 and 88, clamped outside; NaN stays NaN. */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float whole = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    float rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float sum = 1.9875691e-4f;
    sum = sum * rest + 1.3981999e-3f;
    sum = sum * rest + 8.3334519e-3f;
    sum = sum * rest + 4.1665796e-2f;
    sum = sum * rest + 1.6666665e-1f;
    sum = sum * rest + 5.0000001e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    int32_t bits = ((int32_t)whole + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return sum * power;
}

static inline float logistic(float x) { return 1.0f / (1.0f + exponential(-x)); }

static inline float same(float value) { return value; }
static inline float one(float value) { return (void)value, 1.0f; }

/* gelu by tanh is x * logistic(cubic(x)) (Hendrycks and Gimpel 2016, section 2). */
static inline float cubic(float x) { return 1.5957691216f * (x + 0.044715f * x * x * x); }
static inline float cubic_slope(float x) { return 1.5957691216f * (1.0f + 0.134145f * x * x); }

/* A random 32-bit word for a place: a counter-based generator, so that the backward pass draws the same mask again. */
static inline uint32_t draw(uint32_t place, uint32_t seed) {
    uint32_t word = place * 0x9e3779b9u ^ seed;
    word ^= word >> 16;
    word *= 0x21f0aaadu;
    word ^= word >> 15;
    word *= 0x735a2d97u;
    word ^= word >> 15;
    return word;
}

/* The factor of dropout: 0, or 1 / (1 - p). `least` is p * 2^32. */
static inline float kept(uint32_t place, uint32_t seed, uint32_t least, float factor) {
    return draw(place, seed) >= least ? factor : 0.0f;
}

/* ---- small products, for attention */

int omp_get_thread_num(void), omp_get_num_threads(void); /* torch's, like all of OpenMP */

#define PART static __attribute__((noinline)) /* inlined wherever they are called, they take longer to compile */
#define EACH_TASK _Pragma("omp parallel for schedule(dynamic) num_threads(threads)")

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
typedef float lanes __attribute__((vector_size(LANES * 4), aligned(4)));

#define QUERIES 32 /* computed together */

/* Rounded up to whole vectors, in pairs. */
static inline size whole(size n) { return (n + 2 * LANES - 1) / (2 * LANES) * (2 * LANES); }

/* c[m, n] = a b, or c + a b, of a[m, k] with any steps and b[k, n]; n is a multiple of two vectors. Sums go up along k. */
PART void product(const float *a, size row_step, size step, const float *b, size b_step, float *c, size c_step, size m, size n,
                  size k, int add) {
    for (size i = 0; i < m; i += 4) {
        size last = m - 1, at[4] = {i, i + 1 < last ? i + 1 : last, i + 2 < last ? i + 2 : last, i + 3 < last ? i + 3 : last};
        const float *row0 = a + at[0] * row_step, *row1 = a + at[1] * row_step;
        const float *row2 = a + at[2] * row_step, *row3 = a + at[3] * row_step;
        for (size j = 0; j < n; j += 2 * LANES) {
            lanes sums[4][2] = {0};
            if (add)
                for (size r = 0; r < 4; r++) {
                    sums[r][0] = *(const lanes *)(c + at[r] * c_step + j);
                    sums[r][1] = *(const lanes *)(c + at[r] * c_step + j + LANES);
                }
            for (size x = 0; x < k; x++) {
                lanes one = *(const lanes *)(b + x * b_step + j), two = *(const lanes *)(b + x * b_step + j + LANES);
                float p = row0[x * step], q = row1[x * step], r = row2[x * step], s = row3[x * step];
                sums[0][0] += p * one, sums[0][1] += p * two;
                sums[1][0] += q * one, sums[1][1] += q * two;
                sums[2][0] += r * one, sums[2][1] += r * two;
                sums[3][0] += s * one, sums[3][1] += s * two;
            }
            for (size r = 0; r < 4; r++) { /* a row that stands in for a missing one is written twice, with the same sums */
                *(lanes *)(c + at[r] * c_step + j) = sums[r][0];
                *(lanes *)(c + at[r] * c_step + j + LANES) = sums[r][1];
            }
        }
    }
}

/* rows[n, wide] -> [wide, length], zero beyond n. */
PART void turn(const float *rows, size n, size wide, float *out, size length) {
    for (size i = 0; i < wide; i++) {
        float *target = out + i * length;
        for (size row = 0; row < n; row++) target[row] = rows[row * wide + i];
        for (size row = n; row < length; row++) target[row] = 0.0f;
    }
}

/* Numbers of scratch that a thread needs for segments of up to n keys: five tables of keys, three of queries, two of scores. */
size attend_room(size n, size d) { return 5 * whole(n) * whole(d) + QUERIES * (3 * whole(d) + 2 * whole(n)); }

/* Where a segment's tokens begin and how many there are, the same of its parent, where what flows back to that is written, the
   place of its first random word, and its keys. */
struct Span {
    size start, length, parent, before, spilled;
    uint32_t place;
    size keys;
};

static inline struct Span span_at(const int64_t *spans, size at, size heads) {
    const int64_t *line = spans + 6 * at;
    struct Span span = {line[0], line[1], line[2], line[3], line[4], (uint32_t)(line[5] * heads), line[1] + line[3]};
    return span;
}

/* Queries that are computed together: how many, which row of the stream is the first, and up to which key the last one sees. */
struct Block {
    size rows, start, seen;
};

static inline struct Block block_at(const struct Span *span, size first, size window) {
    size rows = span->length - first < QUERIES ? span->length - first : QUERIES;
    struct Block block = {rows, span->start + first, window ? span->before + first + rows : span->keys};
    return block;
}

/* What one query of a head sees, keys [low, high), and the place of its first random word. */
struct View {
    size low, high;
    uint32_t place;
};

static inline struct View view_at(const struct Span *span, size head, size query, size window) {
    size high = window ? span->before + query + 1 : span->keys, low = window && high > window ? high - window : 0;
    struct View view = {low, high, span->place + (uint32_t)((head * span->length + query) * span->keys)};
    return view;
}

static inline void clear(float *line, size low, size high, size end) {
    for (size i = 0; i < low; i++) line[i] = 0.0f;
    for (size i = high; i < end; i++) line[i] = 0.0f;
}

/* Scores -> their softmax over [low, high), zero elsewhere; the logarithm of the sum. */
PART float soften(float *line, size low, size high, size end) {
    float most = -3.0e38f, total = 0.0f;
#pragma omp simd reduction(max : most)
    for (size i = low; i < high; i++) most = line[i] > most ? line[i] : most;
#pragma omp simd reduction(+ : total)
    for (size i = low; i < high; i++) total += line[i] = exponential(line[i] - most);
    float share = 1.0f / total;
#pragma omp simd
    for (size i = low; i < high; i++) line[i] *= share;
    clear(line, low, high, end);
    return most + __builtin_logf(total);
}

/* The same softmax from the logarithm of its sum. */
PART void again(float *line, size low, size high, size end, float sum) {
#pragma omp simd
    for (size i = low; i < high; i++) line[i] = exponential(line[i] - sum);
    clear(line, low, high, end);
}

/* Dropout on a line. */
PART void thin(float *line, uint32_t place, size end, uint32_t seed, uint32_t least, float factor) {
#pragma omp simd
    for (size i = 0; i < end; i++) line[i] *= kept(place + (uint32_t)i, seed, least, factor);
}

/* What flows to the used probabilities -> what flows to the scores; the probabilities become those that were used. */
PART void slant(float *line, float *slope, uint32_t place, size end, uint32_t seed, uint32_t least, float factor) {
    float along = 0.0f;
    if (least) thin(slope, place, end, seed, least, factor);
#pragma omp simd reduction(+ : along)
    for (size i = 0; i < end; i++) along += line[i] * slope[i];
#pragma omp simd
    for (size i = 0; i < end; i++) slope[i] = line[i] * (slope[i] - along);
    if (least) thin(line, place, end, seed, least, factor);
}

/* ---- the layers, in both types */

#define real bf16
#define UP up
#define DOWN down
#define NAME(name) name##_bf16
#include "layers.h"
#include "attention.h"
#undef real
#undef UP
#undef DOWN
#undef NAME

#define real float
#define UP same
#define DOWN same
#define NAME(name) name##_fp32
#include "layers.h"
#include "attention.h"

/* ---- the update, of many tensors in one call; what a thread does of it is every so-many-th block */

#define EACH_BLOCK(count, length)                                                                       \
    size me = omp_get_thread_num(), all = omp_get_num_threads(), at = 0;                                                \
    for (size tensor = 0; tensor < tensors; tensor++)                                                                   \
        for (size start = 0; start < count; start += length, at++)                                                      \
            if (at % all == me)

#define STOP(count, length) (start + length < count ? start + length : count)

/* Sums of squares of blocks of 65,536, in order, from rows of [address, numbers, whether they are bf16]. */
void squares(const int64_t *places, double *partial, size tensors, int threads) {
#pragma omp parallel num_threads(threads)
    {
        EACH_BLOCK(places[3 * tensor + 1], 65536) {
            const int64_t *place = places + 3 * tensor;
            size stop = STOP(place[1], 65536);
            float total = 0.0f;
            if (place[2]) {
                const bf16 *x = (const bf16 *)place[0];
#pragma omp simd reduction(+ : total)
                for (size i = start; i < stop; i++) total += up(x[i]) * up(x[i]);
            } else {
                const float *x = (const float *)place[0];
#pragma omp simd reduction(+ : total)
                for (size i = start; i < stop; i++) total += x[i] * x[i];
            }
            partial[at] = total;
        }
    }
}

/* AdamW of `count` numbers: gradient times `clip`, both moments, the weight, and its bf16 copy where there is one. */
#define ADAMW(name, type, read)                                                                                         \
    PART void name(float *weight, float *first, float *second, const type *grad, bf16 *copy, size count,                \
                   float clip, float shrink, float rate, float root, float beta1, float beta2, float epsilon) {         \
        float other1 = 1.0f - beta1, other2 = 1.0f - beta2;                                                             \
        _Pragma("omp simd") for (size i = 0; i < count; i++) {                                                          \
            float g = read(grad[i]) * clip;                                                                             \
            float m = first[i] + (g - first[i]) * other1;                                                               \
            float v = second[i] * beta2 + g * g * other2;                                                               \
            first[i] = m;                                                                                               \
            second[i] = v;                                                                                              \
            weight[i] = weight[i] * shrink - rate * m / (__builtin_sqrtf(v) * root + epsilon);                          \
        }                                                                                                               \
        if (copy) _Pragma("omp simd") for (size i = 0; i < count; i++) copy[i] = down(weight[i]);                       \
    }
ADAMW(adamw_fp32, float, same)
ADAMW(adamw_bf16, bf16, up)

#define NUMBERS 16384

/* Weights in two halves (train/split.py): bf16, and the 16 bits that it lacks; exact halves go away from zero. */
PART void put_together(float *weight, const bf16 *upper, const int16_t *rest, size count) {
#pragma omp simd
    for (size i = 0; i < count; i++) {
        uint32_t bits = ((uint32_t)upper[i] << 16) + (uint32_t)(int32_t)rest[i];
        memcpy(weight + i, &bits, 4);
    }
}

PART void divide(const float *weight, bf16 *upper, int16_t *rest, size count) {
#pragma omp simd
    for (size i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, weight + i, 4);
        uint32_t half = (bits + 0x8000u) >> 16;
        upper[i] = (bf16)half;
        rest[i] = (int16_t)(bits - (half << 16));
    }
}

/* Rows of [weight or 0, first moment, second, gradient, bf16 copy or 0, numbers, whether the gradient is bf16, rest or 0] and
   [shrink, rate, root]. With a rest the copy is the weight's upper half. */
void adamw(const int64_t *places, const float *numbers, size tensors, float clip, float beta1, float beta2, float epsilon,
           int threads) {
#pragma omp parallel num_threads(threads)
    {
        float whole[NUMBERS];
        EACH_BLOCK(places[8 * tensor + 5], NUMBERS) {
            const int64_t *place = places + 8 * tensor;
            const float *number = numbers + 3 * tensor;
            size count = STOP(place[5], NUMBERS) - start;
            float *first = (float *)place[1] + start, *second = (float *)place[2] + start;
            bf16 *copy = place[4] ? (bf16 *)place[4] + start : 0;
            int16_t *rest = place[7] ? (int16_t *)place[7] + start : 0;
            float *weight = rest ? whole : (float *)place[0] + start;
            if (rest) put_together(whole, copy, rest, count);
            if (place[6])
                adamw_bf16(weight, first, second, (const bf16 *)place[3] + start, rest ? 0 : copy, count, clip, number[0],
                           number[1], number[2], beta1, beta2, epsilon);
            else
                adamw_fp32(weight, first, second, (const float *)place[3] + start, rest ? 0 : copy, count, clip, number[0],
                           number[1], number[2], beta1, beta2, epsilon);
            if (rest) divide(whole, copy, rest, count);
        }
    }
}
