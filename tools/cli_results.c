/* Results: folders, files, and that those of a command appear together or not at all. */
#include "cli.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HIDDEN ".interp-" /* and the number of the process: where a command writes */

/* ---- files */

/* Makes a folder and its parents; *made: whether the last one is new. */
static int make_folder(const char *path, bool *made)
{
    char part[CLI_PATH];
    struct stat info;
    const size_t n = strlen(path);
    *made = false;
    if (n == 0 || n + 64 > sizeof part)
        return cli_fail("-o %s: no folder can have that name", path);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i]) continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (!mkdir(part, 0777)) *made = true;
        else if (errno != EEXIST)
            return cli_fail("%s: the folder could not be made: %s", part, strerror(errno));
    }
    if (stat(path, &info) || !S_ISDIR(info.st_mode))
        return cli_fail("%s: this is not a folder", path);
    return CLI_DONE;
}

int cli_make_folder(const char *path)
{
    bool made;
    return make_folder(path, &made);
}

const char *cli_path(char out[CLI_PATH], const char *folder, const char *name)
{
    if (snprintf(out, CLI_PATH, "%s/%s", folder, name) >= CLI_PATH) out[0] = 0; /* no such file */
    return out;
}

int cli_write(const char *path, const void *bytes, size_t n)
{
    char part[CLI_PATH + 8];
    snprintf(part, sizeof part, "%s.part~", path);
    FILE *f = fopen(part, "wb");
    bool ok = f && (n == 0 || fwrite(bytes, 1, n, f) == n);
    if (f && fclose(f)) ok = false;
    if (ok && rename(part, path)) ok = false;
    if (ok) return CLI_DONE;
    const int code = cli_fail("%s: could not be written: %s", path, strerror(errno));
    if (f) remove(part);
    return code;
}

int cli_write_image(cli *c, interp_image *image, const char *path)
{
    const interp_status status = interp_image_write(c->ctx, image, path);
    interp_image_free(c->ctx, image);
    return status ? cli_fail_ctx(c) : CLI_DONE;
}

/* ---- folders as wholes */

/* Called with the path of every file below a folder and its part behind that folder; non-zero ends. */
typedef int (*visitor)(const char *path, const char *inner, void *user);

/* Visits files in order of name; with `remove_all` nothing is visited, and all of it goes. */
static int walk(const char *folder, const char *inner, visitor visit, void *user, bool remove_all)
{
    char path[CLI_PATH], name[CLI_PATH];
    struct dirent **entries;
    struct stat info;
    int code = CLI_DONE;
    const int n = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        const char *base = entries[i]->d_name;
        if (strcmp(base, ".") && strcmp(base, "..") && !code) {
            cli_path(path, folder, base);
            snprintf(name, sizeof name, "%s%s%s", inner, *inner ? "/" : "", base);
            if (!lstat(path, &info) && S_ISDIR(info.st_mode))
                code = walk(path, name, visit, user, remove_all);
            else if (remove_all) remove(path);
            else code = visit(path, name, user);
        }
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    if (remove_all) rmdir(folder);
    return code;
}

/* Folders of processes that were killed. */
static void discard_leftovers(const char *folder)
{
    char path[CLI_PATH];
    struct dirent **entries;
    const int n = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        const long pid =
            strncmp(name, HIDDEN, strlen(HIDDEN)) ? 0 : strtol(name + strlen(HIDDEN), NULL, 10);
        if (pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH)
            walk(cli_path(path, folder, name), "", NULL, NULL, true);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
}

int cli_begin(cli *c, const char *folder)
{
    char name[64];
    bool made;
    if (!folder)
        return cli_usage("%s: -o DIR is missing: the folder for the results", c->command->name);
    if (make_folder(folder, &made)) return CLI_FAILED;
    discard_leftovers(folder);
    snprintf(c->folder, sizeof c->folder, "%s", folder);
    snprintf(name, sizeof name, HIDDEN "%ld", (long)getpid());
    cli_path(c->out, folder, name);
    c->new_folder = made;
    if (!mkdir(c->out, 0777)) return CLI_DONE;
    c->out[0] = 0;
    return cli_fail("%s: nothing can be written there: %s", folder, strerror(errno));
}

void cli_discard(cli *c)
{
    if (!c->out[0]) return;
    walk(c->out, "", NULL, NULL, true);
    if (c->new_folder) rmdir(c->folder); /* stays when something else is in it by now */
    c->out[0] = 0;
}

/* ---- moving in */

/* A new file on its way; `user` is the list of them all, a line each. */
typedef struct moving {
    const cli *c;
    cli_text names;
} moving;

static int move_in(const char *path, const char *inner, void *user)
{
    moving *m = (moving *)user;
    char to[CLI_PATH];
    cli_path(to, m->c->folder, inner);
    char *slash = strrchr(to, '/');
    *slash = 0;
    if (cli_make_folder(to)) return CLI_FAILED;
    *slash = '/';
    if (rename(path, to)) return cli_fail("%s: could not be written: %s", to, strerror(errno));
    cli_add(&m->names, "\n%s\n", inner);
    return CLI_DONE;
}

/* '#' in a pattern is one digit or more, '*' any text. */
static bool matches(const char *pattern, const char *name)
{
    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            while (*name && !matches(pattern + 1, name)) name++;
            return matches(pattern + 1, name);
        }
        if (*pattern != '#') {
            if (*pattern != *name++) return false;
            continue;
        }
        if (!isdigit((unsigned char)*name)) return false;
        while (isdigit((unsigned char)*name)) name++;
    }
    return !*name;
}

/* Removes the files of a pattern that are not among the new ones. */
static void remove_stale(const moving *m, const char *pattern)
{
    char inner[128], folder[CLI_PATH], path[CLI_PATH], line[CLI_PATH];
    struct dirent **entries;
    const char *slash = strrchr(pattern, '/');
    const int length = slash ? (int)(slash - pattern) + 1 : 0;
    snprintf(inner, sizeof inner, "%.*s", length, pattern);
    cli_path(folder, m->c->folder, inner);
    const int n = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        const bool named = snprintf(line, sizeof line, "\n%s%s\n", inner, name) < CLI_PATH;
        if (named && matches(pattern + length, name) && !strstr(m->names.data, line))
            remove(cli_path(path, folder, name));
        free(entries[i]);
    }
    if (n >= 0) free(entries);
}

int cli_commit(cli *c, const char *const *stale)
{
    moving m = {c, {NULL, 0, 0, false}};
    int code = walk(c->out, "", move_in, &m, false);
    for (; !code && stale && *stale && !m.names.failed && m.names.data; stale++)
        remove_stale(&m, *stale);
    free(m.names.data);
    c->new_folder = false;
    cli_discard(c);
    return code;
}

static int add_file(const char *path, const char *inner, void *user)
{
    cli_text *t = (cli_text *)user;
    (void)path;
    if (t->data[t->n - 1] != '[') cli_add(t, ",");
    cli_add_json(t, inner);
    return t->failed ? CLI_FAILED : CLI_DONE;
}

void cli_add_files(cli_text *t, const cli *c)
{
    cli_add(t, "[");
    if (!t->failed) walk(c->out, "", add_file, t, false);
    cli_add(t, "]");
}
