/* interp: the command line of interp.h. */
#include "cli.h"

#include <string.h>

static const cli_command *const commands[] = {
    &cmd_demo, &cmd_train, &cmd_info,    &cmd_run,   &cmd_attribute, &cmd_evaluate,
    &cmd_lca,  &cmd_mode,  &cmd_inspect, &cmd_embed, &cmd_dynamics,  &cmd_convert};

static void print_help(void)
{
    puts("interp: trains, loads and explains neural networks on any CPU\n\n"
         "  interp COMMAND [options]      interp help COMMAND      interp --version\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        printf("  %-20s  %s\n", commands[i]->name, commands[i]->summary);
    puts(
        "\nDATA is digits, iris (both built in), shapes[:N] (generated), idx:DIR, cifar10:DIR,\n"
        "npy:X.npy,Y.npy, csv:FILE[,label=COLUMN], folder:DIR or table:FILE.csv,images=DIR;\n"
        "images also with ,size=HxW. Without test files a fifth is set aside, the same for every seed.\n"
        "Exit codes: 0 done, 1 failed, 2 the call was wrong.");
}

static const cli_command *find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
        !strcmp(argv[1], "help")) {
        const cli_command *about = argc > 2 ? find(argv[2]) : NULL;
        if (argc > 2 && !about) return cli_usage("%s: there is no such command", argv[2]);
        if (about) cli_help(about);
        else print_help();
        return argc < 2 ? CLI_USAGE : CLI_DONE;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("interp %s\n", interp_version());
        return CLI_DONE;
    }
    const cli_command *command = find(argv[1]);
    if (!command) return cli_usage("%s: there is no such command; see `interp help`", argv[1]);
    for (int i = 2; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            cli_help(command);
            return CLI_DONE;
        }
    cli c;
    int code = cli_open(&c, command, argc - 2, argv + 2);
    if (!code) code = command->run(&c);
    cli_close(&c);
    return code;
}
