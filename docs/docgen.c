/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the tables of the reference pages from the tables of the program (control/schema.h,
 * control/methods.h, base/err.h, net/drop.h), so that they cannot disagree.
 *
 *   docgen FILE             the page on standard output, its generated parts made anew
 *   docgen --check FILE...  whether they are up to date already; a test
 *   docgen --write FILE...  make them so
 *
 * A generated part stands between a line that contains "generated: WHAT" and one that contains
 * "generated: end"; the lines themselves are comments of the page's language and stay.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "control/methods.h"
#include "control/schema.h"
#include "net/drop.h"

#define MARK "generated: "

/* Text with the letters that mean something to troff escaped. */
static void troff(FILE *f, const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", f); /* would be a request at the start of a line */
	for (; *s; s++) {
		if (*s == '-' || *s == '\\')
			fputc('\\', f);
		fputc(*s, f);
		if (*s == '\\')
			fputc('e', f);
	}
}

static const char *arguments(const struct xv_method *method)
{
	switch (method->args) {
	case XV_ARGS_NONE:
		return "";
	case XV_ARGS_OBJECT:
		return " NAME KEY=VALUE...";
	case XV_ARGS_CHANGES:
		return xv_schema_object(method->object)->single ? " KEY=VALUE..."
								: " NAME KEY=VALUE...";
	case XV_ARGS_NAME:
		return " NAME";
	case XV_ARGS_APPLY:
		return " FILE [--dry-run]";
	case XV_ARGS_NETWORK:
		return " [network=NAME]";
	case XV_ARGS_PORT:
		return " [port=NAME]";
	case XV_ARGS_LOG:
		return " level=LEVEL";
	case XV_ARGS_FLOWS:
		return " [port=NAME] [network=NAME] [address=ADDRESS] [limit=N]";
	case XV_ARGS_FLOW:
		return " ID";
	case XV_ARGS_RULE:
		return " GROUP/RULE";
	case XV_ARGS_RULE_EDIT:
		return " GROUP/RULE KEY=VALUE...";
	case XV_ARGS_RULES:
		return " [group=NAME]";
	case XV_ARGS_CONNECTIONS:
		return " [KEY=VALUE...]";
	case XV_ARGS_WATCH:
		return " [port=NAME] [reason=REASON] [count=N]";
	case XV_ARGS_TRACE:
		return " port=NAME KEY=VALUE...";
	case XV_ARGS_TEST:
		return " [port=NAME] [to=NAME] KEY=VALUE...";
	case XV_ARGS_LIVE:
		return " [KEY=VALUE...] [--write FILE]";
	}
	return "";
}

static void md_commands(FILE *f, const char *what)
{
	fprintf(f, "| command | |\n|---|---|\n");
	for (unsigned int i = 0; i < XV_METHOD_MAX; i++)
		fprintf(f, "| `xvioctl %s%s` | %s |\n", xv_methods[i].command,
			arguments(&xv_methods[i]), xv_methods[i].help);
}

static void man_commands(FILE *f, const char *what)
{
	for (unsigned int i = 0; i < XV_METHOD_MAX; i++) {
		fprintf(f, ".TP\n.B ");
		troff(f, xv_methods[i].command);
		troff(f, arguments(&xv_methods[i]));
		fprintf(f, "\n");
		troff(f, xv_methods[i].help);
		fprintf(f, ".\n");
	}
}

static void md_methods(FILE *f, const char *what)
{
	fprintf(f, "| method | parameters | changes | |\n|---|---|---|---|\n");
	for (unsigned int i = 0; i < XV_METHOD_MAX; i++) {
		const struct xv_method *method = &xv_methods[i];

		fprintf(f, "| `%s` | ", method->name);
		if (method->args == XV_ARGS_OBJECT || method->args == XV_ARGS_CHANGES) {
			fprintf(f, "keys of [%s](host-file.md#%s)%s", method->object,
				xv_schema_object(method->object)->section,
				method->args == XV_ARGS_CHANGES ? ", any of them; null = default"
								: "");
		} else {
			const char *separator = "";

			for (const struct xv_key *key = xv_method_keys(method); key->name; key++) {
				bool needed = key->flags & XV_KEY_REQUIRED &&
					      (method != &xv_methods[XV_METHOD_rule_set] || strcmp(key->name, "rule") == 0);

				fprintf(f, "%s`%s`%s", separator, key->name, needed ? "" : " (optional)");
				separator = ", ";
			}
		}
		fprintf(f, " | %s | %s |\n", method->write ? "yes" : "", method->help);
	}
}

static void md_keys(FILE *f, const char *what)
{
	const struct xv_key *keys = xv_schema_keys(what);
	char values[200];

	if (keys == NULL)
		return;
	fprintf(f, "| key | value | default | |\n|---|---|---|---|\n");
	for (const struct xv_key *key = keys; key->name != NULL; key++) {
		fprintf(f, "| `%s` | %s", key->name, xv_key_describe(key, values, sizeof(values)));
		if (key->example != NULL)
			fprintf(f, ", such as `%s`", key->example);
		fprintf(f, " | %s | ",
			key->def                       ? key->def
			: key->flags & XV_KEY_REQUIRED ? "required"
						       : "");
		if (key->only != NULL)
			fprintf(f, "kind %s: ", key->only);
		fprintf(f, "%s%s%s |\n", key->help,
			key->flags & XV_KEY_DEVICE ? ". A change makes the port anew" : "",
			key->flags & XV_KEY_START ? ". Read when xviod starts" : "");
	}
}

static void man_keys(FILE *f, const char *what)
{
	char values[200];

	for (const struct xv_key *key = xv_schema_keys(what); key && key->name; key++) {
		fprintf(f, ".TP\n.BI %s: \" ", key->name);
		troff(f, xv_key_describe(key, values, sizeof(values)));
		fprintf(f, "\"\n");
		if (key->only != NULL)
			fprintf(f, "Kind %s: ", key->only);
		troff(f, key->help);
		fprintf(f, ".\n");
		if (key->def != NULL) {
			fprintf(f, "Default: ");
			troff(f, key->def);
			fprintf(f, ".\n");
		}
		if (key->flags & XV_KEY_REQUIRED)
			fprintf(f, "Required.\n");
	}
}

static void md_errors(FILE *f, const char *what)
{
	for (int code = XV_ERR_SYNTAX; code <= XV_ERR_INTERNAL; code++)
		fprintf(f, "%s`%s`", code == XV_ERR_SYNTAX ? "" : ", ",
			xv_errcode_name((enum xv_errcode)code));
	fprintf(f, "\n");
}

static void md_drops(FILE *f, const char *what)
{
	fprintf(f, "| reason | |\n|---|---|\n");
#define X(id, name, explanation) fprintf(f, "| `%s` | %s |\n", name, explanation);
	XV_DROP_REASONS(X)
#undef X
}

static void man_drops(FILE *f, const char *what)
{
#define X(id, name, explanation)                                                                   \
	fprintf(f, ".TP\n.B ");                                                                    \
	troff(f, name);                                                                            \
	fprintf(f, "\n");                                                                          \
	troff(f, explanation);                                                                     \
	fprintf(f, ".\n");
	XV_DROP_REASONS(X)
#undef X
}

static const struct {
	const char *name;
	void (*print)(FILE *f, const char *what);
} parts[] = {
	{"md-commands", md_commands}, {"man-commands", man_commands}, {"md-methods", md_methods},
	{"md-keys", md_keys},         {"man-keys", man_keys},         {"md-errors", md_errors},
	{"md-drops", md_drops},       {"man-drops", man_drops},
};

/* "md-keys port -->" */
static bool print_part(FILE *f, const char *spec)
{
	char name[32] = "", what[32] = "";

	(void)sscanf(spec, "%31s %31[a-z ]", name, what);
	for (size_t n = strlen(what); n > 0 && what[n - 1] == ' '; n--) /* before "-->" */
		what[n - 1] = '\0';
	for (unsigned int i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strcmp(parts[i].name, name) == 0) {
			parts[i].print(f, what);
			return true;
		}
	}
	fprintf(stderr, "docgen: there is no part \"%s\"\n", name);
	return false;
}

static bool fill(const char *page, FILE *out)
{
	bool skipping = false, good = true;
	char line[4096], *mark;
	FILE *in = fopen(page, "r");

	if (in == NULL) {
		perror(page);
		return false;
	}
	while (fgets(line, sizeof(line), in) != NULL) {
		mark = strstr(line, MARK);
		if (mark != NULL && strncmp(mark + strlen(MARK), "end", 3) == 0)
			skipping = false;
		if (skipping)
			continue;
		fputs(line, out);
		if (mark != NULL && strncmp(mark + strlen(MARK), "end", 3) != 0) {
			good &= print_part(out, mark + strlen(MARK));
			skipping = true;
		}
	}
	if (skipping) {
		fprintf(stderr, "docgen: %s: a generated part does not end\n", page);
		good = false;
	}
	fclose(in);
	return good;
}

/* 0 = the same, 1 = differs. */
static int compare(const char *page, const char *text, size_t len)
{
	FILE *in = fopen(page, "r");
	bool same = in != NULL;

	for (size_t i = 0; same && i < len; i++)
		same = fgetc(in) == (unsigned char)text[i];
	same = same && fgetc(in) == EOF;
	if (in != NULL)
		fclose(in);
	if (!same)
		fprintf(stderr, "docgen: %s is out of date; docgen --write makes it anew\n", page);
	return same ? 0 : 1;
}

int main(int argc, char **argv)
{
	int failures = 0;

	if (argc == 2)
		return fill(argv[1], stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
	for (int i = 2; i < argc; i++) {
		char *text = NULL;
		size_t len = 0;
		FILE *f = open_memstream(&text, &len);
		bool good = f != NULL && fill(argv[i], f);

		if (f == NULL || fclose(f) != 0 || !good) {
			failures++;
		} else if (strcmp(argv[1], "--write") == 0) {
			f = fopen(argv[i], "w");
			if (f == NULL || fwrite(text, 1, len, f) != len || fclose(f) != 0) {
				perror(argv[i]);
				failures++;
			}
		} else {
			failures += compare(argv[i], text, len);
		}
		free(text);
	}
	return failures || argc < 2 ? EXIT_FAILURE : EXIT_SUCCESS;
}
