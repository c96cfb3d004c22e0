/* Attention within short segments, without laying anything out: softmax(scale Q K') V and back (Vaswani et al. 2017, section
   3.2.1), included by kernels.c once for each type of `real`. Everything inside is fp32; scores of a block of queries are made,
   used and dropped, and made again on the way back from their logarithmic sums (Dao et al. 2022, "FlashAttention", section 3).

   q [any, heads], k and v [any, groups], each head of width d, lie `rows` and `heads` apart (in numbers). A segment's keys are
   those of its parent, if any, and then its own. One pair of a segment and a group of heads is one task; what it writes, nobody
   else does: `sums` are [heads, tokens], so that threads do not share their lines. `scratch` has `room` numbers for each. */

/* Rows of one head in fp32, [n, wide], zero from d to wide. */
PART void NAME(read_rows)(const real *from, size step, size n, size d, size wide, float scale, float *out) {
    for (size row = 0; row < n; row++) {
        const real *source = from + row * step;
        float *target = out + row * wide;
#pragma omp simd
        for (size i = 0; i < d; i++) target[i] = UP(source[i]) * scale;
        for (size i = d; i < wide; i++) target[i] = 0.0f;
    }
}

PART void NAME(write_rows)(const float *from, size wide, size n, size d, real *out, size step) {
    for (size row = 0; row < n; row++) {
        const float *source = from + row * wide;
        real *target = out + row * step;
#pragma omp simd
        for (size i = 0; i < d; i++) target[i] = DOWN(source[i]);
    }
}

/* The keys or values of a segment: `before` rows of its parent, then its own; as [n, wide], and turned as [d, long]. */
PART void NAME(read_keys)(const real *from, size step, const struct Span *span, size d, size wide, float *out) {
    NAME(read_rows)(from + span->parent * step, step, span->before, d, wide, 1.0f, out);
    NAME(read_rows)(from + span->start * step, step, span->length, d, wide, 1.0f, out + span->before * wide);
}

/* Scores[rows, length] of a block of queries, which are left in `queries`. */
PART void NAME(score)(const real *q, size step, const struct Block *block, const float *turned, size length, size d, size wide,
                      float scale, float *queries, float *scores) {
    NAME(read_rows)(q + block->start * step, step, block->rows, d, wide, scale, queries);
    product(queries, wide, 1, turned, length, scores, length, block->rows, whole(block->seen), d, 0);
}

void NAME(attend)(const real *q, const real *k, const real *v, real *out, float *sums, const int64_t *spans, float *scratch,
                  size segments, size groups, size heads, size d, size tokens, size q_step, size q_head, size k_step, size k_head,
                  size v_step, size v_head, size window, float scale, uint32_t seed, uint32_t least, float factor, size room,
                  int threads) {
    size per = heads / groups, wide = whole(d);
    EACH_TASK
    for (size task = 0; task < segments * groups; task++) {
        struct Span span = span_at(spans, task / groups, heads);
        size group = task % groups, n = span.keys, length = whole(n);
        float *keys = scratch + omp_get_thread_num() * room, *turned = keys + n * wide, *values = turned + wide * length;
        float *queries = values + n * wide, *scores = queries + QUERIES * wide, *read = scores + QUERIES * length;
        NAME(read_keys)(k + group * k_head, k_step, &span, d, wide, keys);
        turn(keys, n, wide, turned, length);
        NAME(read_keys)(v + group * v_head, v_step, &span, d, wide, values);
        for (size head = group * per; head < (group + 1) * per; head++)
            for (size first = 0; first < span.length; first += QUERIES) {
                struct Block block = block_at(&span, first, window);
                size rows = block.rows, seen = block.seen, start = block.start;
                NAME(score)(q + head * q_head, q_step, &block, turned, length, d, wide, scale, queries, scores);
                for (size row = 0; row < rows; row++) {
                    float *line = scores + row * length;
                    struct View view = view_at(&span, head, first + row, window);
                    sums[head * tokens + start + row] = soften(line, view.low, view.high, whole(seen));
                    if (least) thin(line, view.place, n, seed, least, factor);
                }
                product(scores, length, 1, values, wide, read, wide, rows, wide, seen, 0);
                NAME(write_rows)(read, wide, rows, d, out + start * heads * d + head * d, heads * d);
            }
    }
}

/* `spill` gets what flows to a parent's keys and then to its values, [rows, groups, d] from the segment's own `spilled` on. */
void NAME(attend_back)(const real *flow, const real *q, const real *k, const real *v, const float *sums, const int64_t *spans,
                       real *of_q, real *of_k, real *of_v, float *spill, float *scratch, size segments, size groups, size heads,
                       size d, size tokens, size q_step, size q_head, size k_step, size k_head, size v_step, size v_head, size oq_step,
                       size oq_head, size ok_step, size ok_head, size ov_step, size ov_head, size window, float scale,
                       uint32_t seed, uint32_t least, float factor, size room, size spills, int threads) {
    size per = heads / groups, wide = whole(d);
    EACH_TASK
    for (size task = 0; task < segments * groups; task++) {
        struct Span span = span_at(spans, task / groups, heads);
        size group = task % groups, n = span.keys, length = whole(n);
        float *keys = scratch + omp_get_thread_num() * room, *turned = keys + n * wide, *values = turned + wide * length;
        float *of_keys = values + wide * length, *of_values = of_keys + n * wide, *queries = of_values + n * wide;
        float *flows = queries + QUERIES * wide, *of_queries = flows + QUERIES * wide, *scores = of_queries + QUERIES * wide;
        float *slopes = scores + QUERIES * length;
        NAME(read_keys)(v + group * v_head, v_step, &span, d, wide, keys); /* only to be turned */
        turn(keys, n, wide, values, length);
        NAME(read_keys)(k + group * k_head, k_step, &span, d, wide, keys);
        turn(keys, n, wide, turned, length);
        memset(of_keys, 0, 2 * n * wide * sizeof(float));
        for (size head = group * per; head < (group + 1) * per; head++)
            for (size first = 0; first < span.length; first += QUERIES) {
                struct Block block = block_at(&span, first, window);
                size rows = block.rows, seen = block.seen, start = block.start;
                NAME(score)(q + head * q_head, q_step, &block, turned, length, d, wide, scale, queries, scores);
                NAME(read_rows)(flow + start * heads * d + head * d, heads * d, rows, d, wide, 1.0f, flows);
                product(flows, wide, 1, values, length, slopes, length, rows, whole(seen), d, 0);
                for (size row = 0; row < rows; row++) {
                    float *line = scores + row * length, *slope = slopes + row * length;
                    struct View view = view_at(&span, head, first + row, window);
                    again(line, view.low, view.high, whole(seen), sums[head * tokens + start + row]);
                    slant(line, slope, view.place, whole(seen), seed, least, factor);
                }
                product(scores, 1, length, flows, wide, of_values, wide, seen, wide, rows, 1);
                product(slopes, 1, length, queries, wide, of_keys, wide, seen, wide, rows, 1);
                product(slopes, length, 1, keys, wide, of_queries, wide, rows, wide, seen, 0);
                for (size i = 0; i < rows * wide; i++) of_queries[i] *= scale;
                NAME(write_rows)(of_queries, wide, rows, d, of_q + start * oq_step + head * oq_head, oq_step);
            }
        size own = span.before * wide;
        NAME(write_rows)(of_keys + own, wide, span.length, d, of_k + span.start * ok_step + group * ok_head, ok_step);
        NAME(write_rows)(of_values + own, wide, span.length, d, of_v + span.start * ov_step + group * ov_head, ov_step);
        for (size row = 0; row < span.before; row++) {
            float *target = spill + ((span.spilled + row) * groups + group) * d;
            memcpy(target, of_keys + row * wide, d * sizeof(float));
            memcpy(target + spills * groups * d, of_values + row * wide, d * sizeof(float));
        }
    }
}
