/* The codec in C, with the contract and the docstrings of _python.py (RFC 6455, 5.2).
 *
 * Each payload is allocated once, and unmasked into its place. Every octet of a buffer comes from a
 * peer. So sizes are compared before anything is added to them, since a sum could overflow, and no
 * memory is allocated only because a header claims a size.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { STOPPED, PARTIAL, FOREIGN };

#define TEXT 0x81
#define BINARY 0x82
#define MASKED 0x80
#define LONGEST_HEADER 14

/* A word ANDed with this is not zero if any of its octets is not ASCII. */
#define NOT_ASCII UINT64_C(0x8080808080808080)

/* A decoder of UTF-8 (RFC 3629) that takes single octets, so that it can stop and go on anywhere.
 *
 * A state is a shift: the row of an octet, shifted by the state, has the next state in its lowest
 * six bits. States that a row does not name lead to INVALID (0), and so does INVALID itself.
 * There is no branch, and the row is looked up without waiting for the last state: only a shift
 * depends on it.
 */
enum {
    INVALID = 0,
    COMPLETE = 6, /* between two code points */
    WANTS_1 = 12, /* one, two or three more octets from 80 to BF */
    WANTS_2 = 18,
    WANTS_3 = 24,
    AFTER_E0 = 30, /* the next octet is A0 or more: a smaller one would have a shorter form */
    AFTER_ED = 36, /* the next octet is 9F or less: a larger one makes a surrogate */
    AFTER_F0 = 42, /* the next octet is 90 or more: a smaller one would have a shorter form */
    AFTER_F4 = 48, /* the next octet is 8F or less: a larger one is over U+10FFFF */
};

#define TO(from, to) ((uint64_t)(to) << (from))
#define CONTINUATION (TO(WANTS_1, COMPLETE) | TO(WANTS_2, WANTS_1) | TO(WANTS_3, WANTS_2))

static const uint64_t UTF8[256] = {
    [0x00 ... 0x7F] = TO(COMPLETE, COMPLETE),
    [0x80 ... 0x8F] = CONTINUATION | TO(AFTER_ED, WANTS_1) | TO(AFTER_F4, WANTS_2),
    [0x90 ... 0x9F] = CONTINUATION | TO(AFTER_ED, WANTS_1) | TO(AFTER_F0, WANTS_2),
    [0xA0 ... 0xBF] = CONTINUATION | TO(AFTER_E0, WANTS_1) | TO(AFTER_F0, WANTS_2),
    [0xC2 ... 0xDF] = TO(COMPLETE, WANTS_1),
    [0xE0] = TO(COMPLETE, AFTER_E0),
    [0xE1 ... 0xEC] = TO(COMPLETE, WANTS_2),
    [0xED] = TO(COMPLETE, AFTER_ED),
    [0xEE ... 0xEF] = TO(COMPLETE, WANTS_2),
    [0xF0] = TO(COMPLETE, AFTER_F0),
    [0xF1 ... 0xF3] = TO(COMPLETE, WANTS_3),
    [0xF4] = TO(COMPLETE, AFTER_F4),
};

static int
utf8_state(int state, const uint8_t *text, size_t size)
{
    uint64_t moved = (uint64_t)state;
    size_t i = 0;

    for (; size - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, text + i, 8);
        if ((moved & 63) == COMPLETE && !(word & NOT_ASCII))
            continue;
        for (size_t k = 0; k < 8; k++)
            moved = UTF8[text[i + k]] >> (moved & 63);
    }
    for (; i < size; i++)
        moved = UTF8[text[i]] >> (moved & 63);
    return (int)(moved & 63);
}

/* Return the key as a word, beginning with the octet that masks octet `offset` of the payload. */
static uint64_t
key_word(const uint8_t *key, size_t offset)
{
    uint8_t octets[8];
    uint64_t word;

    for (size_t i = 0; i < 8; i++)
        octets[i] = key[(offset + i) % 4];
    memcpy(&word, octets, 8);
    return word;
}

/* Mask or unmask into another place. Return all written octets ORed together, which tells whether
 * they are ASCII without a second pass. Words are read through memcpy, since payloads are not
 * aligned; the compiler turns the loop into vector instructions. */
static uint64_t
xor_octets(uint8_t *restrict to, const uint8_t *restrict from, size_t size, uint64_t key)
{
    size_t words = size / 8;
    uint64_t seen = 0;
    uint8_t keys[8];

    for (size_t i = 0; i < words; i++) {
        uint64_t word;
        memcpy(&word, from + i * 8, 8);
        word ^= key;
        seen |= word;
        memcpy(to + i * 8, &word, 8);
    }
    memcpy(keys, &key, 8);
    for (size_t i = 0; i < size % 8; i++) {
        uint8_t octet = from[words * 8 + i] ^ keys[i];
        seen |= octet;
        to[words * 8 + i] = octet;
    }
    return seen;
}

/* Return the octets of a header, 0 if it is not whole. The payload's size is below 2^63, or -1 if
 * it is not encoded in the shortest way, which is an error (RFC 6455, 5.2). */
static size_t
read_header(const uint8_t *at, size_t available, int64_t *size)
{
    size_t header, length_octets = 0;
    uint64_t value = 0, least = 0;

    *size = 0;
    if (available < 2)
        return 0;
    header = at[1] & MASKED ? 6 : 2;
    switch (at[1] & 0x7F) {
    case 126:
        length_octets = 2;
        least = 126;
        break;
    case 127:
        length_octets = 8;
        least = 65536;
        break;
    default:
        value = at[1] & 0x7F;
    }
    header += length_octets;
    if (available < header)
        return 0;
    for (size_t i = 0; i < length_octets; i++)
        value = value << 8 | at[2 + i];
    *size = value < least || value > INT64_MAX ? -1 : (int64_t)value;
    return header;
}

static size_t
write_header(uint8_t *to, uint8_t first, uint64_t size, uint8_t mask_bit)
{
    size_t length_octets = size < 126 ? 0 : size < 65536 ? 2 : 8;

    to[0] = first;
    to[1] = mask_bit | (length_octets == 0 ? (uint8_t)size : length_octets == 2 ? 126 : 127);
    for (size_t i = 0; i < length_octets; i++)
        to[2 + i] = (uint8_t)(size >> (8 * (length_octets - 1 - i)));
    return 2 + length_octets;
}

/* Arguments */

static bool
is_count(const char *name, Py_ssize_t given, Py_ssize_t least, Py_ssize_t most)
{
    if (given >= least && given <= most)
        return true;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd to %zd arguments (%zd given)", name, least,
                 most, given);
    return false;
}

static bool
is_bytes(PyObject *object)
{
    if (PyBytes_Check(object))
        return true;
    PyErr_Format(PyExc_TypeError, "bytes are required, not %.100s", Py_TYPE(object)->tp_name);
    return false;
}

/* Convert an int. One that is too large is cut to the largest size, which is behind every buffer:
 * the codec in Python takes ints of any size, and both must behave alike. */
static bool
to_size(PyObject *object, Py_ssize_t *value)
{
    *value = PyNumber_AsSsize_t(object, NULL);
    return *value != -1 || !PyErr_Occurred();
}

/* Find a buffer's octets from a position on: none if it is behind the end, as for a slice. */
static bool
octets_from(PyObject *buffer, PyObject *start, const uint8_t **at, size_t *available,
            Py_ssize_t *place)
{
    if (!is_bytes(buffer) || !to_size(start, place))
        return false;
    if (*place < 0) {
        PyErr_SetString(PyExc_ValueError, "start is negative");
        return false;
    }
    if (*place > PyBytes_GET_SIZE(buffer))
        *place = PyBytes_GET_SIZE(buffer);
    *at = (const uint8_t *)PyBytes_AS_STRING(buffer) + *place;
    *available = (size_t)(PyBytes_GET_SIZE(buffer) - *place);
    return true;
}

static bool
is_key(PyObject *key)
{
    if (!is_bytes(key))
        return false;
    if (PyBytes_GET_SIZE(key) == 4)
        return true;
    PyErr_SetString(PyExc_ValueError, "a key has four octets");
    return false;
}

/* Functions */

static PyObject *
frame_size(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    const uint8_t *at;
    size_t available, header;
    Py_ssize_t start;
    int64_t size;

    if (!is_count("frame_size", count, 2, 2) ||
        !octets_from(args[0], args[1], &at, &available, &start))
        return NULL;
    header = read_header(at, available, &size);
    return PyLong_FromUnsignedLongLong(header + (uint64_t)(size < 0 ? 0 : size));
}

static PyObject *
mask(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    PyObject *masked;

    if (!is_count("mask", count, 2, 2) || !is_bytes(args[0]) || !is_key(args[1]))
        return NULL;
    masked = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(args[0]));
    if (masked != NULL && PyBytes_GET_SIZE(masked))
        xor_octets((uint8_t *)PyBytes_AS_STRING(masked), (uint8_t *)PyBytes_AS_STRING(args[0]),
                   (size_t)PyBytes_GET_SIZE(masked),
                   key_word((uint8_t *)PyBytes_AS_STRING(args[1]), 0));
    return masked;
}

/* Decode the frame at `at`. Return its payload and set `octets` to the octets of the frame, or
 * return NULL and set the outcome. NULL with STOPPED means that a Python error is set. */
static PyObject *
message_at(const uint8_t *at, size_t available, bool masked, Py_ssize_t limit, int *outcome,
           size_t *octets)
{
    size_t header;
    int64_t size;
    PyObject *payload;
    uint8_t *to;
    uint64_t seen;

    *outcome = PARTIAL;
    if (available < 2)
        return NULL;
    *outcome = FOREIGN;
    if ((at[0] != TEXT && at[0] != BINARY) || !!(at[1] & MASKED) != masked)
        return NULL;
    header = read_header(at, available, &size);
    if (header && (size < 0 || (limit > 0 && size > limit)))
        return NULL;
    *outcome = PARTIAL;
    if (!header || (uint64_t)size > available - header)
        return NULL;
    *octets = header + (size_t)size;
    *outcome = STOPPED;
    payload = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (payload == NULL || !size) /* Python shares one empty bytes object: never write to it */
        return payload;
    to = (uint8_t *)PyBytes_AS_STRING(payload);
    seen = xor_octets(to, at + header, (size_t)size, masked ? key_word(at + header - 4, 0) : 0);
    if (at[0] == TEXT && (seen & NOT_ASCII) && utf8_state(COMPLETE, to, (size_t)size) != COMPLETE) {
        Py_DECREF(payload);
        *outcome = FOREIGN;
        return NULL;
    }
    return payload;
}

static PyObject *
decode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    const uint8_t *at;
    size_t available, octets;
    Py_ssize_t start, limit, most;
    int masked, outcome = STOPPED;
    PyObject *messages, *result;

    if (!is_count("decode", count, 5, 5) ||
        !octets_from(args[0], args[1], &at, &available, &start))
        return NULL;
    masked = PyObject_IsTrue(args[2]);
    if (masked < 0 || !to_size(args[3], &limit) || !to_size(args[4], &most))
        return NULL;
    messages = PyList_New(0);
    if (messages == NULL)
        return NULL;
    while (PyList_GET_SIZE(messages) < most) {
        PyObject *payload, *end, *message;
        int appended;

        payload = message_at(at, available, masked, limit, &outcome, &octets);
        if (payload == NULL) {
            if (outcome != STOPPED)
                break;
            goto failed;
        }
        end = PyLong_FromSsize_t(start + (Py_ssize_t)octets);
        message = end == NULL ? NULL : PyTuple_New(3);
        if (message == NULL) {
            Py_XDECREF(end);
            Py_DECREF(payload);
            goto failed;
        }
        PyTuple_SET_ITEM(message, 0, payload);
        PyTuple_SET_ITEM(message, 1, PyBool_FromLong(*at == BINARY));
        PyTuple_SET_ITEM(message, 2, end);
        appended = PyList_Append(messages, message);
        Py_DECREF(message);
        if (appended < 0)
            goto failed;
        at += octets;
        available -= octets;
        start += (Py_ssize_t)octets;
    }
    result = PyTuple_New(2);
    if (result == NULL)
        goto failed;
    PyTuple_SET_ITEM(result, 0, messages);
    PyTuple_SET_ITEM(result, 1, PyLong_FromLong(outcome)); /* cannot fail: small ints exist */
    return result;

failed:
    Py_DECREF(messages);
    return NULL;
}

static PyObject *
framed(uint8_t first, const Py_buffer *payload, PyObject *key)
{
    uint8_t header[LONGEST_HEADER];
    size_t size = (size_t)payload->len;
    size_t header_size = write_header(header, first, size, key ? MASKED : 0);
    PyObject *frame;
    uint8_t *to;

    if (key) {
        memcpy(header + header_size, PyBytes_AS_STRING(key), 4);
        header_size += 4;
    }
    if (size > (size_t)PY_SSIZE_T_MAX - header_size)
        return PyErr_NoMemory();
    frame = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(header_size + size));
    if (frame == NULL)
        return NULL;
    to = (uint8_t *)PyBytes_AS_STRING(frame);
    memcpy(to, header, header_size);
    if (key)
        xor_octets(to + header_size, payload->buf, size, key_word(header + header_size - 4, 0));
    else if (size)
        memcpy(to + header_size, payload->buf, size);
    return frame;
}

static PyObject *
encode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    Py_ssize_t first;
    Py_buffer payload;
    PyObject *key = NULL, *frame;

    if (!is_count("encode", count, 2, 3) || !to_size(args[0], &first))
        return NULL;
    if (first < 0 || first > 255) {
        PyErr_SetString(PyExc_ValueError, "the first octet is not in range(256)");
        return NULL;
    }
    if (count == 3) {
        if (!is_bytes(args[2]))
            return NULL;
        if (PyBytes_GET_SIZE(args[2])) {
            key = args[2];
            if (!is_key(key))
                return NULL;
        }
    }
    if (PyObject_GetBuffer(args[1], &payload, PyBUF_SIMPLE) < 0)
        return NULL;
    frame = framed((uint8_t)first, &payload, key);
    PyBuffer_Release(&payload);
    return frame;
}

/* PartialFrame. Its buffer is the bytes object that becomes the payload, so that a payload of
 * megabytes is not copied at the end. The buffer is longer than the filled part until the frame is
 * whole. Then it is handed out, and never written to again, since bytes must not change. */

typedef struct {
    PyObject_HEAD
    PyObject *buffer; /* bytes without another reference until the frame is whole, or NULL */
    size_t filled;
    uint64_t size;
    Py_ssize_t header_size;
    int state; /* of the decoder of UTF-8 */
    bool masked;
    uint8_t key[4];
    char is_binary;
    char valid;
} PartialFrame;

static bool
is_whole(const PartialFrame *self)
{
    return self->filled == self->size;
}

static PyObject *
partial_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *buffer, *start;
    const uint8_t *at;
    size_t available, header;
    Py_ssize_t place;
    int64_t size;
    PartialFrame *self;

    if (keywords != NULL && PyDict_GET_SIZE(keywords)) {
        PyErr_SetString(PyExc_TypeError, "PartialFrame() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_UnpackTuple(args, "PartialFrame", 2, 2, &buffer, &start) ||
        !octets_from(buffer, start, &at, &available, &place))
        return NULL;
    header = read_header(at, available, &size);
    if (!header || size < 0) {
        PyErr_SetString(PyExc_ValueError, "no whole header of a frame");
        return NULL;
    }
    self = (PartialFrame *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->size = (uint64_t)size;
    self->header_size = (Py_ssize_t)header;
    self->is_binary = at[0] == BINARY;
    self->valid = true;
    self->state = COMPLETE;
    self->masked = at[1] & MASKED;
    if (self->masked)
        memcpy(self->key, at + header - 4, 4);
    return (PyObject *)self;
}

static void
partial_dealloc(PyObject *object)
{
    /* The object holds only bytes and cannot be subclassed, so no cycle can lead through it, and
     * the garbage collector need not know it. */
    PyTypeObject *type = Py_TYPE(object);

    Py_XDECREF(((PartialFrame *)object)->buffer);
    type->tp_free(object);
    Py_DECREF(type);
}

/* Make room for `more` octets. The room doubles each time, so that the time for all is linear. It
 * is never more than the frame's size, so that the whole payload fits exactly. Room grows with the
 * octets that have arrived, not with the size that the header claims. */
static bool
grow(PartialFrame *self, size_t more)
{
    size_t room = self->buffer == NULL ? 0 : (size_t)PyBytes_GET_SIZE(self->buffer);
    size_t needed = self->filled + more; /* all of them were in memory, so this cannot overflow */
    size_t wanted = room > needed / 2 ? room * 2 : needed;

    if (needed <= room)
        return true;
    if (wanted > self->size)
        wanted = (size_t)self->size;
    if (wanted > (size_t)PY_SSIZE_T_MAX)
        wanted = (size_t)PY_SSIZE_T_MAX;
    if (self->buffer == NULL)
        self->buffer = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)wanted);
    else
        _PyBytes_Resize(&self->buffer, (Py_ssize_t)wanted);
    if (self->buffer == NULL) { /* _PyBytes_Resize has freed the old buffer */
        self->filled = 0;
        self->valid = false;
        self->state = INVALID;
    }
    return self->buffer != NULL;
}

static PyObject *
partial_feed(PartialFrame *self, PyObject *const *args, Py_ssize_t count)
{
    const uint8_t *at;
    size_t available, take;
    Py_ssize_t start;

    if (!is_count("feed", count, 2, 2) || !octets_from(args[0], args[1], &at, &available, &start))
        return NULL;
    take = available < self->size - self->filled ? available
                                                 : (size_t)(self->size - self->filled);
    if (take) {
        uint8_t *to;
        uint64_t seen;

        if (!grow(self, take))
            return NULL;
        to = (uint8_t *)PyBytes_AS_STRING(self->buffer) + self->filled;
        seen = xor_octets(to, at, take, self->masked ? key_word(self->key, self->filled % 4) : 0);
        self->filled += take;
        if (!self->is_binary) {
            if (self->state != COMPLETE || (seen & NOT_ASCII))
                self->state = utf8_state(self->state, to, take);
            if (self->state == INVALID || (is_whole(self) && self->state != COMPLETE))
                self->valid = false;
        }
    }
    return PyLong_FromSsize_t(start + (Py_ssize_t)take);
}

static PyObject *
partial_whole(PartialFrame *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(is_whole(self));
}

static PyObject *
partial_left(PartialFrame *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(self->size - self->filled);
}

static PyObject *
partial_payload(PartialFrame *self, void *Py_UNUSED(closure))
{
    if (self->filled && is_whole(self)) /* the buffer has exactly the payload's size then */
        return Py_NewRef(self->buffer);
    return PyBytes_FromStringAndSize(self->filled ? PyBytes_AS_STRING(self->buffer) : NULL,
                                     (Py_ssize_t)self->filled);
}

static PyMethodDef partial_methods[] = {
    {"feed", (PyCFunction)(void (*)(void))partial_feed, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef partial_members[] = {
    {"isBinary", T_BOOL, offsetof(PartialFrame, is_binary), READONLY, NULL},
    {"valid", T_BOOL, offsetof(PartialFrame, valid), READONLY, NULL},
    {"header_size", T_PYSSIZET, offsetof(PartialFrame, header_size), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef partial_properties[] = {
    {"whole", (getter)partial_whole, NULL, NULL, NULL},
    {"left", (getter)partial_left, NULL, NULL, NULL},
    {"payload", (getter)partial_payload, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot partial_slots[] = {
    {Py_tp_new, partial_new},
    {Py_tp_dealloc, partial_dealloc},
    {Py_tp_methods, partial_methods},
    {Py_tp_members, partial_members},
    {Py_tp_getset, partial_properties},
    {0, NULL},
};

static PyType_Spec partial_spec = {
    .name = "wsservice.protocol.frames._native.PartialFrame",
    .basicsize = sizeof(PartialFrame),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = partial_slots,
};

/* The module */

static int
native_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &partial_spec, NULL);

    if (type == NULL)
        return -1;
    if (PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_DECREF(type);
        return -1;
    }
    Py_DECREF(type);
    if (PyModule_AddIntMacro(module, STOPPED) < 0 || PyModule_AddIntMacro(module, PARTIAL) < 0 ||
        PyModule_AddIntMacro(module, FOREIGN) < 0)
        return -1;
    return 0;
}

#define FAST(function) {#function, (PyCFunction)(void (*)(void))function, METH_FASTCALL, NULL}

static PyMethodDef native_functions[] = {
    FAST(decode),
    FAST(encode),
    FAST(frame_size),
    FAST(mask),
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot native_slots[] = {
    {Py_mod_exec, native_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef native_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "wsservice.protocol.frames._native",
    .m_methods = native_functions,
    .m_slots = native_slots,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&native_module);
}
