/* Pillow's resize(size, BILINEAR, box) of 8-bit RGB pixels, to the last bit and in less time.

   Each output pixel is the mean of the input pixels around it, weighted by a triangle that
   reaches as far as one output pixel is wide, or one input pixel where that is wider. One
   side is resized after the other, and what lies between is rounded to 8 bits: so which
   side comes first shows in the result.

   Weights are computed in doubles and rounded to fixed point as Pillow rounds them; the
   order of those few operations must stay as it is, and a compiler must not fuse two of
   them. All sums are of whole numbers, exact in any order.

   No Python object is touched while the pixels are computed, and the GIL is free. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && defined(__x86_64__)
#define HAS_AVX2
#include <immintrin.h>
#elif !defined(_M_X64)
#error "other processors fuse operations or not, as Pillow's compiler chose: not the same bits"
#endif

/* Of a weight, and what is added to a sum so that cutting off the fraction rounds it. */
#define FRACTION 22
#define HALF (1 << (FRACTION - 1))
/* Rows that are resized across at once, each pixel of them in four bytes, of which one is
   padding: an instruction takes 16 bytes of equal weight. */
#define GROUP 4
#define LANES 16
/* JPEGs are no larger; sums of 255 times as many rounded weights stay below 2^31. */
#define LARGEST_SIDE (1 << 16)

/* How the pixels of one side are mixed. Output i takes `count[i]` inputs from `first[i]`,
   their weights from `weights[i * taps]`. Inputs outside low <= x < high are not needed. */
typedef struct {
    int inputs, outputs, low, high;
    size_t taps;
    int *first, *count;
    int32_t *weights;
} Side;

typedef struct {
    const uint8_t *pixels;
    uint8_t *out;
    Side across, down;
    int down_first;
    /* Scratch: one output's weights before rounding; a group of rows side by side; rows
       resized in one direction, `stride` bytes apart, `slots` of them; and where the rows
       lie that one output row is mixed from. */
    double *shares;
    uint8_t *block;
    uint8_t *rows;
    size_t stride, slots;
    const uint8_t **sources;
} Task;

/* `mix_across` writes `side->outputs` pixels to each of four rows from a block that starts
   at the column `side->low`. `mix_down` writes a row of `size` bytes from `count` rows. */
typedef void (*MixAcross)(const Side *side, const uint8_t *block, uint8_t *const out[GROUP]);
typedef void (*MixDown)(
    const uint8_t *const *rows, const int32_t *weights, int count, size_t size, uint8_t *out);

static uint8_t clipped(int32_t sum) {
    int32_t value = sum >> FRACTION;
    return (uint8_t)(value > 255 ? 255 : value);
}

/* Write pixel i of four rows. Four bytes are quicker than three, and the next pixel mends
   the fourth; the last pixel has none after it. */
static inline void put_pixels(uint8_t *const out[GROUP], int i, int outputs, const uint8_t *four) {
    size_t place = (size_t)i * 3;
    if (i + 1 < outputs) {
        for (int row = 0; row < GROUP; row++)
            memcpy(out[row] + place, four + row * 4, 4);
    } else {
        for (int row = 0; row < GROUP; row++)
            memcpy(out[row] + place, four + row * 4, 3);
    }
}

static void mix_across_plainly(const Side *side, const uint8_t *block, uint8_t *const out[GROUP]) {
    for (int i = 0; i < side->outputs; i++) {
        const uint8_t *bytes = block + (size_t)(side->first[i] - side->low) * LANES;
        const int32_t *weights = side->weights + (size_t)i * side->taps;
        int32_t sums[LANES];
        uint8_t four[LANES];
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] = HALF;
        for (int k = 0; k < side->count[i]; k++, bytes += LANES)
            for (int lane = 0; lane < LANES; lane++)
                sums[lane] += bytes[lane] * weights[k];
        for (int lane = 0; lane < LANES; lane++)
            four[lane] = clipped(sums[lane]);
        put_pixels(out, i, side->outputs, four);
    }
}

static void mix_down_from(size_t place, const uint8_t *const *rows, const int32_t *weights,
                          int count, size_t size, uint8_t *out) {
    for (; place < size; place++) {
        int32_t sum = HALF;
        for (int k = 0; k < count; k++)
            sum += rows[k][place] * weights[k];
        out[place] = clipped(sum);
    }
}

static void mix_down_plainly(const uint8_t *const *rows, const int32_t *weights, int count,
                             size_t size, uint8_t *out) {
    mix_down_from(0, rows, weights, count, size, out);
}

#ifdef HAS_AVX2
#define AVX2 __attribute__((target("avx2")))

/* Add 8 bytes times a weight to 8 sums. */
AVX2 static inline __m256i add_product(__m256i sums, const uint8_t *bytes, __m256i weight) {
    __m256i values = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes));
    return _mm256_add_epi32(sums, _mm256_mullo_epi32(values, weight));
}

/* Write 16 sums as bytes. */
AVX2 static inline void put_sums(__m256i low, __m256i high, uint8_t *out) {
    __m256i words = _mm256_packs_epi32(
        _mm256_srai_epi32(low, FRACTION), _mm256_srai_epi32(high, FRACTION));
    /* Packing works on halves of a register, so its quarters are in the order 0, 2, 1, 3. */
    words = _mm256_permute4x64_epi64(words, _MM_SHUFFLE(3, 1, 2, 0));
    _mm_storeu_si128((__m128i *)out, _mm_packus_epi16(_mm256_castsi256_si128(words),
                                                      _mm256_extracti128_si256(words, 1)));
}

AVX2 static void mix_across_avx2(const Side *side, const uint8_t *block, uint8_t *const out[GROUP]) {
    for (int i = 0; i < side->outputs; i++) {
        const uint8_t *bytes = block + (size_t)(side->first[i] - side->low) * LANES;
        const int32_t *weights = side->weights + (size_t)i * side->taps;
        __m256i low = _mm256_set1_epi32(HALF), high = low;
        uint8_t four[LANES];
        for (int k = 0; k < side->count[i]; k++, bytes += LANES) {
            __m256i weight = _mm256_set1_epi32(weights[k]);
            low = add_product(low, bytes, weight);
            high = add_product(high, bytes + 8, weight);
        }
        put_sums(low, high, four);
        put_pixels(out, i, side->outputs, four);
    }
}

AVX2 static void mix_down_avx2(const uint8_t *const *rows, const int32_t *weights, int count,
                               size_t size, uint8_t *out) {
    size_t place = 0;
    for (; place + LANES <= size; place += LANES) {
        __m256i low = _mm256_set1_epi32(HALF), high = low;
        for (int k = 0; k < count; k++) {
            __m256i weight = _mm256_set1_epi32(weights[k]);
            low = add_product(low, rows[k] + place, weight);
            high = add_product(high, rows[k] + place + 8, weight);
        }
        put_sums(low, high, out + place);
    }
    mix_down_from(place, rows, weights, count, size, out);
}
#endif

/* The quickest of what this processor has; set when the module is loaded. */
static MixAcross quick_across = mix_across_plainly;
static MixDown quick_down = mix_down_plainly;
static const char *instructions = "plain";

static double scale_of(const Side *side, float start, float end) {
    return (double)(end - start) / side->outputs;
}

/* Weights that one output of a side may need. */
static size_t most_taps(const Side *side, float start, float end) {
    double scale = scale_of(side, start, end);
    return (size_t)ceil(scale < 1.0 ? 1.0 : scale) * 2 + 1;
}

static void weigh(Side *side, float start, float end, double *shares) {
    double scale = scale_of(side, start, end);
    double support = scale < 1.0 ? 1.0 : scale;
    double per_pixel = 1.0 / support;
    side->low = side->inputs;
    side->high = 0;
    for (int i = 0; i < side->outputs; i++) {
        int32_t *weights = side->weights + (size_t)i * side->taps;
        double centre = start + (i + 0.5) * scale;
        double total = 0.0;
        int first = (int)(centre - support + 0.5), last = (int)(centre + support + 0.5);
        /* The first and the last line see to it that rounding can never lead outside. */
        first = first < 0 ? 0 : first >= side->inputs ? side->inputs - 1 : first;
        last = last > side->inputs ? side->inputs : last <= first ? first + 1 : last;
        int count = last - first;
        count = (size_t)count > side->taps ? (int)side->taps : count;
        for (int k = 0; k < count; k++) {
            double distance = fabs((k + first - centre + 0.5) * per_pixel);
            shares[k] = distance < 1.0 ? 1.0 - distance : 0.0;
            total += shares[k];
        }
        for (int k = 0; k < count; k++) {
            double share = total != 0.0 ? shares[k] / total : shares[k];
            weights[k] = (int32_t)(0.5 + share * (1 << FRACTION));
        }
        while (count > 1 && weights[count - 1] == 0)
            count--;
        side->first[i] = first;
        side->count[i] = count;
        side->low = first < side->low ? first : side->low;
        side->high = first + count > side->high ? first + count : side->high;
    }
}

/* Put `columns` pixels of four rows side by side. */
static void interleave(const uint8_t *const rows[GROUP], int columns, uint8_t *block) {
    const uint8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    for (int x = 1; x < columns; x++, a += 3, b += 3, c += 3, d += 3, block += LANES) {
        memcpy(block, a, 4);
        memcpy(block + 4, b, 4);
        memcpy(block + 8, c, 4);
        memcpy(block + 12, d, 4);
    }
    /* A fourth byte may lie outside of the image. */
    memset(block, 0, LANES);
    memcpy(block, a, 3);
    memcpy(block + 4, b, 3);
    memcpy(block + 8, c, 3);
    memcpy(block + 12, d, 3);
}

static void resize_down_first(const Task *task, MixAcross mix_across, MixDown mix_down) {
    const Side *across = &task->across, *down = &task->down;
    int columns = across->high - across->low;
    size_t size = (size_t)columns * 3, line = (size_t)across->outputs * 3;
    const uint8_t *pixels = task->pixels + (size_t)across->low * 3;
    for (int y = 0; y < down->outputs; y += GROUP) {
        const uint8_t *group[GROUP];
        uint8_t *out[GROUP];
        for (int row = 0; row < GROUP; row++) {
            int at = y + row;
            uint8_t *mixed = task->rows + (size_t)row * task->stride;
            if (at >= down->outputs) {
                /* Rows below the last go to where nobody looks. */
                group[row] = task->rows;
                out[row] = task->rows + GROUP * task->stride;
                continue;
            }
            const int32_t *weights = down->weights + (size_t)at * down->taps;
            for (int k = 0; k < down->count[at]; k++)
                task->sources[k] =
                    pixels + (size_t)(down->first[at] + k) * (size_t)across->inputs * 3;
            mix_down(task->sources, weights, down->count[at], size, mixed);
            group[row] = mixed;
            out[row] = task->out + (size_t)at * line;
        }
        interleave(group, columns, task->block);
        mix_across(across, task->block, out);
    }
}

static void resize_across_first(const Task *task, MixAcross mix_across, MixDown mix_down) {
    const Side *across = &task->across, *down = &task->down;
    size_t line = (size_t)across->outputs * 3;
    /* Input rows before `made` are resized; the last of them are in the slots. */
    int made = down->low;
    for (int y = 0; y < down->outputs; y++) {
        const int32_t *weights = down->weights + (size_t)y * down->taps;
        for (; made < down->first[y] + down->count[y]; made += GROUP) {
            const uint8_t *group[GROUP];
            uint8_t *out[GROUP];
            for (int row = 0; row < GROUP; row++) {
                int at = made + row < down->inputs ? made + row : down->inputs - 1;
                size_t place = (size_t)at * (size_t)across->inputs + (size_t)across->low;
                group[row] = task->pixels + place * 3;
                out[row] = task->rows + (size_t)(made + row) % task->slots * task->stride;
            }
            interleave(group, across->high - across->low, task->block);
            mix_across(across, task->block, out);
        }
        size_t slot = (size_t)down->first[y] % task->slots;
        for (int k = 0; k < down->count[y]; k++) {
            task->sources[k] = task->rows + slot * task->stride;
            slot = slot + 1 < task->slots ? slot + 1 : 0;
        }
        mix_down(task->sources, weights, down->count[y], line, task->out + (size_t)y * line);
    }
}

/* Add room for `count` items to a size and return where they begin; SIZE_MAX if too large. */
static size_t add_room(size_t *total, size_t count, size_t size) {
    size_t start = *total;
    if (start == SIZE_MAX || count > (PY_SSIZE_T_MAX - start - 64) / size)
        return *total = SIZE_MAX;
    *total = (start + count * size + 63) / 64 * 64;
    return start;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Compute the pixels; 0 where there is no memory. Needs no GIL. */
static int run(Task *task, const float box[4], int plain) {
    Side *across = &task->across, *down = &task->down;
    across->taps = most_taps(across, box[0], box[2]);
    down->taps = most_taps(down, box[1], box[3]);
    size_t columns = (size_t)across->inputs, outputs = (size_t)across->outputs;
    /* Rows that one output row needs, and those that are made with the last of them. */
    size_t needed = down->taps < (size_t)down->inputs ? down->taps : (size_t)down->inputs;
    task->slots = task->down_first ? GROUP + 1 : needed + GROUP;
    task->stride = larger(task->down_first ? columns : 0, outputs) * 3;
    size_t total = 0;
    size_t shares = add_room(&total, larger(across->taps, down->taps), sizeof(double));
    size_t sources = add_room(&total, down->taps, sizeof(*task->sources));
    size_t across_first = add_room(&total, outputs * 2, sizeof(int));
    size_t across_weights = add_room(&total, outputs * across->taps, sizeof(int32_t));
    size_t down_first = add_room(&total, (size_t)down->outputs * 2, sizeof(int));
    size_t down_weights =
        add_room(&total, (size_t)down->outputs * down->taps, sizeof(int32_t));
    size_t block = add_room(&total, columns, LANES);
    size_t rows = add_room(&total, task->slots, task->stride);
    uint8_t *scratch = total == SIZE_MAX ? NULL : PyMem_RawMalloc(total);
    if (scratch == NULL)
        return 0;
    task->shares = (double *)(void *)(scratch + shares);
    task->sources = (const uint8_t **)(void *)(scratch + sources);
    across->first = (int *)(void *)(scratch + across_first);
    across->count = across->first + outputs;
    across->weights = (int32_t *)(void *)(scratch + across_weights);
    down->first = (int *)(void *)(scratch + down_first);
    down->count = down->first + down->outputs;
    down->weights = (int32_t *)(void *)(scratch + down_weights);
    task->block = scratch + block;
    task->rows = scratch + rows;
    weigh(across, box[0], box[2], task->shares);
    weigh(down, box[1], box[3], task->shares);
    MixAcross mix_across = plain ? mix_across_plainly : quick_across;
    MixDown mix_down = plain ? mix_down_plainly : quick_down;
    if (task->down_first)
        resize_down_first(task, mix_across, mix_down);
    else
        resize_across_first(task, mix_across, mix_down);
    PyMem_RawFree(scratch);
    return 1;
}

static int fits(const Py_buffer *view) {
    if (view->ndim != 3 || view->itemsize != 1 || view->shape[2] != 3 ||
        (view->format != NULL && strcmp(view->format, "B") != 0)) {
        PyErr_SetString(PyExc_ValueError, "bytes [height, width, 3] are needed");
        return 0;
    }
    for (int side = 0; side < 2; side++)
        if (view->shape[side] < 1 || view->shape[side] > LARGEST_SIDE) {
            PyErr_Format(PyExc_ValueError, "sides must be 1 to %d pixels", LARGEST_SIDE);
            return 0;
        }
    /* Not to be trusted blindly: any Python class may export a buffer. */
    if (view->buf == NULL || view->shape[0] > PY_SSIZE_T_MAX / 3 / view->shape[1] ||
        view->len != view->shape[0] * view->shape[1] * 3) {
        PyErr_SetString(PyExc_ValueError, "the buffer has not the length of its shape");
        return 0;
    }
    return 1;
}

static int check_box(const float box[4], int width, int height) {
    /* Written so that what is not a number fails. */
    if (box[0] >= 0 && box[1] >= 0 && box[0] < box[2] && box[1] < box[3] &&
        box[2] <= (float)width && box[3] <= (float)height)
        return 1;
    PyErr_SetString(PyExc_ValueError, "the box must lie inside of the image and not be empty");
    return 0;
}

static PyObject *resize(PyObject *module, PyObject *arguments) {
    PyObject *source, *target, *result = NULL;
    Py_buffer pixels, out;
    double left, top, right, bottom;
    int down_first, plain = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO(dddd)p|p:resize", &source, &target, &left, &top,
                          &right, &bottom, &down_first, &plain))
        return NULL;
    if (PyObject_GetBuffer(source, &pixels, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0)
        return NULL;
    if (PyObject_GetBuffer(target, &out, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE) < 0) {
        PyBuffer_Release(&pixels);
        return NULL;
    }
    /* Pillow, too, takes a box in single precision. */
    const float box[4] = {(float)left, (float)top, (float)right, (float)bottom};
    if (!fits(&pixels) || !fits(&out))
        goto done;
    if (!check_box(box, (int)pixels.shape[1], (int)pixels.shape[0]))
        goto done;
    uintptr_t from = (uintptr_t)pixels.buf, to = (uintptr_t)out.buf;
    if (from < to + (size_t)out.len && to < from + (size_t)pixels.len) {
        PyErr_SetString(PyExc_ValueError, "the two buffers overlap");
        goto done;
    }
    Task task = {.pixels = pixels.buf, .out = out.buf, .down_first = down_first};
    task.across.inputs = (int)pixels.shape[1];
    task.across.outputs = (int)out.shape[1];
    task.down.inputs = (int)pixels.shape[0];
    task.down.outputs = (int)out.shape[0];
    int enough;
    Py_BEGIN_ALLOW_THREADS
    enough = run(&task, box, plain);
    Py_END_ALLOW_THREADS
    result = enough ? Py_NewRef(Py_None) : PyErr_NoMemory();
done:
    PyBuffer_Release(&out);
    PyBuffer_Release(&pixels);
    return result;
}

static int load(PyObject *module) {
#ifdef HAS_AVX2
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        quick_across = mix_across_avx2;
        quick_down = mix_down_avx2;
        instructions = "avx2";
    }
#endif
    return PyModule_AddStringConstant(module, "INSTRUCTIONS", instructions);
}

static PyMethodDef methods[] = {
    {"resize", resize, METH_VARARGS,
     "resize(pixels, out, box, down_first, plain=False, /)\n--\n\n"
     "Write pixels, resized, to out; both are bytes [height, width, 3].\n\n"
     "Args:\n"
     "    box: left, top, right and bottom of the part of pixels that is wanted.\n"
     "    down_first: whether the height is resized before the width.\n"
     "    plain: use no instructions that only some processors have.\n\n"
     "Raises:\n"
     "    ValueError: a shape or box that cannot be, or buffers that overlap.\n"
     "    BufferError: a buffer that is not contiguous, or not writable.\n"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)load},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "tlcli.core.images._bilinear",
    .m_doc = "Pillow's antialiased bilinear resize, to the last bit.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__bilinear(void) { return PyModuleDef_Init(&definition); }
