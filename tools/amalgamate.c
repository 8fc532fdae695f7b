/* Writes interp.h: the spine src/interp.c with every local #include replaced by the file it names,
   verbatim, each under a banner, and a table of contents on top.
   Usage: amalgamate SRC_DIR > interp.h */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 4096

static const char *src_dir;

static FILE *open_part(const char *name)
{
    char path[LINE_MAX_BYTES];
    snprintf(path, sizeof path, "%s/%s", src_dir, name);
    FILE *f = fopen(path, "r");
    if (!f) {
        fprintf(stderr, "amalgamate: %s: cannot be opened\n", path);
        exit(1);
    }
    return f;
}

/* The file named by a local include line, or NULL; `line` is cut in the process. */
static char *local_include(char *line)
{
    static const char start[] = "#include \"";
    if (strncmp(line, start, sizeof start - 1)) return NULL;
    char *name = line + sizeof start - 1;
    char *quote = strchr(name, '"');
    if (!quote) return NULL;
    *quote = 0;
    return name;
}

static void banner(const char *name)
{
    printf("/* >>%s", name);
    for (size_t i = strlen(name); i < 90; i++) putchar(' ');
    printf("*/\n");
}

/* Copies a part; parts include no other part, only the spine does. */
static void copy_part(const char *name)
{
    FILE *f = open_part(name);
    char line[LINE_MAX_BYTES], copy[LINE_MAX_BYTES];
    banner(name);
    while (fgets(line, sizeof line, f)) {
        strcpy(copy, line);
        if (local_include(copy)) {
            fprintf(stderr, "amalgamate: %s includes a part; only the spine may\n", name);
            exit(1);
        }
        fputs(line, stdout);
    }
    fclose(f);
}

static void contents(void)
{
    FILE *f = open_part("interp.c");
    char line[LINE_MAX_BYTES];
    puts("/* interp.h is generated from src/ by `make interp.h`: edit there, never here.\n"
         "   Contents; search for the name behind >> to get there:");
    while (fgets(line, sizeof line, f)) {
        const char *name = local_include(line);
        if (name) printf("     >>%s\n", name);
    }
    puts("*/");
    fclose(f);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: amalgamate SRC_DIR > interp.h\n", stderr);
        return 2;
    }
    src_dir = argv[1];
    contents();
    FILE *f = open_part("interp.c");
    char line[LINE_MAX_BYTES];
    int spine_line = 0;
    while (fgets(line, sizeof line, f)) {
        if (++spine_line <= 2) continue; /* the spine's own comment */
        char copy[LINE_MAX_BYTES];
        strcpy(copy, line);
        const char *name = local_include(copy);
        if (name) copy_part(name);
        else fputs(line, stdout);
    }
    fclose(f);
    if (fflush(stdout) || ferror(stdout)) {
        fputs("amalgamate: the output could not be written\n", stderr);
        return 1;
    }
    return 0;
}
