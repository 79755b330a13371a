/*
 * A load like that of a compiler
 *
 * A unit is a file of assignments, made up from its number.  A process reads
 * it, makes tokens and trees of it, keeps the names in a hash table, folds what
 * is constant, and writes code for a machine that does not exist.  So there are
 * short-lived processes, fresh memory, small objects all over it, and files.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "area.h"
#include "load.h"

#define STATEMENTS      2000
#define NAMES           300
#define DEPTH           4
#define BUCKETS         256
#define PATH_SIZE       32

static void unit_path(char *path, unsigned number, const char *suffix)
{
    snprintf(path, PATH_SIZE, "/load-%u.%s", number, suffix);
}

/* Writing a source file */

static uint64_t random_state;

static unsigned random_below(unsigned n)
{
    return (unsigned)(hash64(random_state++) % n);
}

static void write_expression(FILE *f, int depth)
{
    if (!depth || !random_below(4)) {
        if (random_below(3)) {
            fprintf(f, "name%u", random_below(NAMES));
        } else {
            fprintf(f, "%u", random_below(1000));
        }
        return;
    }
    fputc('(', f);
    write_expression(f, depth - 1);
    fprintf(f, " %c ", "+-*"[random_below(3)]);
    write_expression(f, depth - 1);
    fputc(')', f);
}

static bool write_unit(unsigned number)
{
    char path[PATH_SIZE];
    FILE *f;

    unit_path(path, number, "in");
    f = fopen(path, "w");
    if (!f) {
        return false;
    }
    random_state = (uint64_t)number << 32;
    for (int i = 0; i < STATEMENTS; i++) {
        fprintf(f, "name%u = ", random_below(NAMES));
        write_expression(f, DEPTH);
        fprintf(f, ";\n");
    }
    return !fclose(f);
}

/* Names */

typedef struct Name {
    struct Name *next;
    unsigned number;
    char text[];
} Name;

static Name *names[BUCKETS];
static unsigned name_count;

static Name *intern(const char *s, size_t len)
{
    uint64_t hash = LOAD_HASH;
    Name *name;

    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (uint8_t)s[i]) * LOAD_HASH_STEP;
    }
    for (name = names[hash % BUCKETS]; name; name = name->next) {
        if (!strncmp(name->text, s, len) && !name->text[len]) {
            return name;
        }
    }
    name = malloc(sizeof(*name) + len + 1);
    if (!name) {
        exit(1);
    }
    name->next = names[hash % BUCKETS];
    name->number = name_count++;
    memcpy(name->text, s, len);
    name->text[len] = '\0';
    names[hash % BUCKETS] = name;
    return name;
}

/* Trees */

typedef struct Node {
    char op;            /* an operator, 'n' for a name, '0' for a number */
    uint32_t value;
    const Name *name;
    struct Node *left;
    struct Node *right;
} Node;

static Node *node(Node fields)
{
    Node *n = malloc(sizeof(*n));

    if (!n) {
        exit(1);
    }
    *n = fields;
    return n;
}

static void free_tree(Node *n)
{
    if (n) {
        free_tree(n->left);
        free_tree(n->right);
        free(n);
    }
}

/* The rest of the unit; whoever takes a token moves it on. */
static const char *cursor;

static void skip_space(void)
{
    while (isspace((unsigned char)*cursor)) {
        cursor++;
    }
}

static void take(char c)
{
    skip_space();
    if (*cursor++ != c) {
        exit(1);
    }
}

static const Name *parse_name(void)
{
    const char *start;

    skip_space();
    start = cursor;
    while (isalnum((unsigned char)*cursor)) {
        cursor++;
    }
    return intern(start, (size_t)(cursor - start));
}

static uint32_t calculate(char op, uint32_t a, uint32_t b)
{
    return op == '+' ? a + b : op == '-' ? a - b : a * b;
}

static Node *fold(Node *n)
{
    if (n->left->op == '0' && n->right->op == '0') {
        n->value = calculate(n->op, n->left->value, n->right->value);
        n->op = '0';
        free_tree(n->left);
        free_tree(n->right);
        n->left = n->right = NULL;
    }
    return n;
}

static Node *parse_expression(void)
{
    Node fields = {};

    skip_space();
    if (isdigit((unsigned char)*cursor)) {
        char *end;

        fields.op = '0';
        fields.value = (uint32_t)strtoul(cursor, &end, 10);
        cursor = end;
        return node(fields);
    }
    if (*cursor != '(') {
        fields.op = 'n';
        fields.name = parse_name();
        return node(fields);
    }
    take('(');
    fields.left = parse_expression();
    skip_space();
    fields.op = *cursor++;
    fields.right = parse_expression();
    take(')');
    return fold(node(fields));
}

/* Code */

/* Returns the register that has the result. */
static unsigned emit(FILE *f, const Node *n, unsigned reg)
{
    if (n->op == '0') {
        fprintf(f, "  r%u := %" PRIu32 "\n", reg, n->value);
    } else if (n->op == 'n') {
        fprintf(f, "  r%u := [%u]\n", reg, n->name->number);
    } else {
        unsigned left = emit(f, n->left, reg);
        unsigned right = emit(f, n->right, reg + 1);

        fprintf(f, "  r%u := r%u %c r%u\n", reg, left, n->op, right);
    }
    return reg;
}

static void translate(FILE *out)
{
    for (skip_space(); *cursor; skip_space()) {
        const Name *name = parse_name();
        Node *tree;

        take('=');
        tree = parse_expression();
        take(';');
        fprintf(out, "  [%u] := r%u\n", name->number, emit(out, tree, 0));
        free_tree(tree);
    }
}

/* A whole file as a string; NULL if it can't be read */
static char *read_file(const char *path, size_t *len)
{
    FILE *f = fopen(path, "r");
    char *text = NULL;
    long size;

    if (!f) {
        return NULL;
    }
    if (!fseek(f, 0, SEEK_END)) {
        size = ftell(f);
        rewind(f);
        text = malloc((size_t)size + 1);
        *len = text ? fread(text, 1, (size_t)size, f) : 0;
        if (text) {
            text[*len] = '\0';
        }
    }
    fclose(f);
    return text;
}

int load_translate(unsigned number)
{
    char path[PATH_SIZE];
    size_t len;
    FILE *out;

    unit_path(path, number, "in");
    cursor = read_file(path, &len);
    unit_path(path, number, "out");
    out = fopen(path, "w");
    if (!cursor || !out) {
        return 1;
    }
    translate(out);
    return fclose(out) ? 1 : 0;
}

/* Units */

static pid_t start_unit(unsigned number)
{
    char decimal[12];
    pid_t pid;

    if (!write_unit(number)) {
        return -1;
    }
    snprintf(decimal, sizeof(decimal), "%u", number);
    pid = fork();
    if (!pid) {
        execl("/proc/self/exe", "age-load", "translate", decimal, NULL);
        _exit(1);
    }
    return pid;
}

/* What a linker would do: read the code of a unit. */
static bool collect_unit(unsigned number, uint64_t *sum)
{
    char path[PATH_SIZE];
    uint64_t hash = LOAD_HASH;
    size_t len = 0;
    char *code;

    unit_path(path, number, "in");
    unlink(path);
    unit_path(path, number, "out");
    code = read_file(path, &len);
    unlink(path);
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (uint8_t)code[i]) * LOAD_HASH_STEP;
    }
    *sum ^= hash;
    free(code);
    return len;
}

bool load_compile(unsigned units, unsigned jobs, uint64_t *sum)
{
    unsigned started = 0, running = 0;
    bool good = true;
    int status;

    *sum = 0;
    while (running || (good && started < units)) {
        if (good && started < units && running < jobs) {
            good = start_unit(started++) > 0;
            running += good;
        } else {
            good = wait(&status) > 0 && !status && good;
            running--;
        }
    }
    for (unsigned i = 0; i < started; i++) {
        good = collect_unit(i, sum) && good;
    }
    return good;
}
