/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const struct local_command local_commands[] = {
	{"doctor", "doctor", "say what would make it faster, or why a port passes no traffic"},
	{"help", "help [WORD]", "show the commands, or those of one object and its keys"},
	{NULL, NULL, NULL},
};

const char *help_usage(const struct xv_method *method, char *buf, size_t size)
{
	static const char *const arguments[] = {
		[XV_ARGS_NONE] = "",
		[XV_ARGS_OBJECT] = " NAME KEY=VALUE...",
		[XV_ARGS_CHANGES] = " NAME KEY=VALUE...",
		[XV_ARGS_NAME] = " NAME",
		[XV_ARGS_APPLY] = " FILE [--dry-run]",
		[XV_ARGS_NETWORK] = " [network=NAME]",
		[XV_ARGS_PORT] = " [port=NAME]",
		[XV_ARGS_LOG] = " level=LEVEL",
		[XV_ARGS_FLOWS] = " [port=NAME] [network=NAME] [address=ADDRESS] [limit=N]",
		[XV_ARGS_FLOW] = " ID",
		[XV_ARGS_RULE] = " GROUP/RULE",
		[XV_ARGS_RULE_EDIT] = " GROUP/RULE KEY=VALUE...",
		[XV_ARGS_RULES] = " [group=NAME]",
		[XV_ARGS_CONNECTIONS] = " [KEY=VALUE...]",
		[XV_ARGS_WATCH] = " [port=NAME] [reason=REASON] [count=N]",
		[XV_ARGS_TRACE] = " port=NAME KEY=VALUE...",
		[XV_ARGS_TEST] = " [port=NAME] [to=NAME] KEY=VALUE...",
		[XV_ARGS_LIVE] = " [KEY=VALUE...] [--write FILE]",
	};
	const char *args = arguments[method->args];

	if (method->args == XV_ARGS_CHANGES && xv_schema_object(method->object)->single)
		args = " KEY=VALUE...";
	snprintf(buf, size, "%s%s", method->command, args);
	return buf;
}

/* Is `subject` the first words of a command? */
static bool is_about(const char *command, const char *subject)
{
	size_t n = strlen(subject);

	return strncmp(command, subject, n) == 0 && (command[n] == '\0' || command[n] == ' ');
}

static void print_keys(FILE *f, const char *name, const char *help, const struct xv_key *keys)
{
	char values[500];

	if (help != NULL)
		fprintf(f, "\nKeys of a %s (%s):\n", name, help);
	else
		fprintf(f, "\nKeys of `xvioctl %s`:\n", name);
	for (const struct xv_key *key = keys; key->name != NULL; key++) {
		fprintf(f, "  %-16s %s\n", key->name, key->help);
		fprintf(f, "  %-16s   %s", "", xv_key_describe(key, values, sizeof(values)));
		if (key->def != NULL)
			fprintf(f, "; default %s", key->def);
		if (key->only != NULL)
			fprintf(f, "; kind %s", key->only);
		fprintf(f, "%s\n", key->flags & XV_KEY_REQUIRED ? "; required" : "");
	}
	for (const struct xv_key *key = keys; key->name != NULL; key++) {
		if (key->keys != NULL)
			print_keys(f, key->entry, key->help, key->keys);
	}
}

int help_print(FILE *f, const char *subject)
{
	const struct xv_object *object = subject ? xv_schema_object(subject) : NULL;
	bool any = false;
	char usage[120];

	if (subject == NULL)
		fprintf(f, "Usage: xvioctl [-s SOCKET] [--json] COMMAND...\n"
			   "Talks to xviod. The socket is /run/xvio/xviod.sock, $XVIO_SOCKET or "
			   "-s.\n\n");
	for (unsigned int i = 0; i < XV_METHOD_MAX; i++) {
		const struct xv_method *method = &xv_methods[i];

		if (subject != NULL && !is_about(method->command, subject))
			continue;
		fprintf(f, "  %-34s %s\n", help_usage(method, usage, sizeof(usage)), method->help);
		any = true;
	}
	for (const struct local_command *c = local_commands; c->name != NULL; c++) {
		if (subject != NULL && !is_about(c->name, subject))
			continue;
		fprintf(f, "  %-34s %s\n", c->usage, c->help);
		any = true;
	}
	any |= object != NULL;
	if (object != NULL)
		print_keys(f, object->name, object->help, object->keys);
	for (unsigned int i = 0; i < XV_METHOD_MAX && subject != NULL; i++) {
		const struct xv_method *method = &xv_methods[i];

		if (is_about(method->command, subject) &&
		    (method->args == XV_ARGS_FLOWS || method->args == XV_ARGS_WATCH || method->args == XV_ARGS_TRACE ||
		     method->args == XV_ARGS_TEST ||
		     method->args == XV_ARGS_LIVE || method->args == XV_ARGS_CONNECTIONS ||
		     method == &xv_methods[XV_METHOD_rule_add]))
			print_keys(f, method->command, NULL, xv_method_keys(method));
	}
	if (subject == NULL)
		fprintf(f, "\n`xvioctl help port` explains the keys of a port, and so on. See "
			   "xvioctl(1).\n");
	return any ? 0 : -1;
}

struct words {
	char *word[64];
	unsigned int n; /* the last one is being typed and may be empty */
};

static void split(char *line, struct words *words)
{
	char *save = NULL;
	size_t len = strlen(line);
	bool open = len > 0 && line[len - 1] != ' ';
	static char empty[] = "";

	words->n = 0;
	for (char *w = strtok_r(line, " \t", &save); w != NULL && words->n < 62;
	     w = strtok_r(NULL, " \t", &save))
		words->word[words->n++] = w;
	if (!open)
		words->word[words->n++] = empty;
}

/* Bash breaks words at "=": print what stands behind it. */
static void offer(const char *typed, const char *prefix, const char *candidate)
{
	char full[256];

	snprintf(full, sizeof(full), "%s%s", prefix, candidate);
	if (strncmp(full, typed, strlen(typed)) == 0)
		printf("%s\n", strchr(typed, '=') ? candidate : full);
}

static void offer_names(struct client *client, const char *type, const char *typed,
			const char *prefix)
{
	char method[40], error[200];
	json_t *list, *object;
	size_t i;

	snprintf(method, sizeof(method), "%s.list", type);
	if (client_call(client, method, json_object(), &list, error, sizeof(error)) < 0)
		return;
	json_array_foreach (list, i, object)
		offer(typed, prefix, json_string_value(json_object_get(object, strcmp(type, "rule") == 0 ? "rule" : "name")));
	json_decref(list);
}

static void offer_values(struct client *client, const struct xv_key *key, const char *typed)
{
	char prefix[64];

	snprintf(prefix, sizeof(prefix), "%s=", key->name);
	for (unsigned int i = 0; key->words != NULL && key->words[i] != NULL; i++)
		offer(typed, prefix, key->words[i]);
	if (key->type == XV_TYPE_BOOL) {
		offer(typed, prefix, "true");
		offer(typed, prefix, "false");
	}
	if (key->ref != NULL && key->type == XV_TYPE_NAME)
		offer_names(client, key->ref, typed, prefix);
}

static void offer_arguments(struct client *client, const struct xv_method *method,
			    const struct words *words, unsigned int at)
{
	const char *typed = words->word[words->n - 1], *equals = strchr(typed, '=');
	bool named = method->object != NULL && !xv_schema_object(method->object)->single;

	if (method->args == XV_ARGS_APPLY) {
		if (typed[0] == '-')
			offer(typed, "", "--dry-run");
		return; /* bash offers files */
	}
	if ((method->args == XV_ARGS_RULE || method->args == XV_ARGS_RULE_EDIT) && at == words->n - 1) {
		if (method != &xv_methods[XV_METHOD_rule_add])
			offer_names(client, "rule", typed, "");
		else
			offer_names(client, "group", typed, "");
		return;
	}
	if (named && method->args != XV_ARGS_NONE && at == words->n - 1) {
		if (method->args != XV_ARGS_OBJECT)
			offer_names(client, method->object, typed, "");
		return;
	}
	if (method->args == XV_ARGS_NAME || method->args == XV_ARGS_RULE)
		return;
	if (method->args == XV_ARGS_LIVE && typed[0] == '-')
		offer(typed, "", "--write");
	for (const struct xv_key *key = xv_method_keys(method); key->name != NULL; key++) {
		if (equals != NULL && strncmp(key->name, typed, (size_t)(equals - typed)) == 0 &&
		    key->name[equals - typed] == '\0')
			offer_values(client, key, typed);
		else if (equals == NULL && strcmp(key->name, "name") != 0) {
			char candidate[64];

			snprintf(candidate, sizeof(candidate), "%s=", key->name);
			offer(typed, "", candidate);
		}
	}
}

/* The n-th word of a command, or NULL. */
static const char *nth_word(const char *command, unsigned int n, char *buf, size_t size)
{
	while (n-- > 0) {
		command = strchr(command, ' ');
		if (command == NULL)
			return NULL;
		command++;
	}
	snprintf(buf, size, "%.*s", (int)strcspn(command, " "), command);
	return buf;
}

void help_complete(struct client *client, const char *line)
{
	const char *typed;
	char *copy = strdup(line), word[32];
	struct words words;
	const struct xv_method *complete = NULL; /* the longest command that has been typed in full: "trace live" */
	unsigned int at = 1, complete_words = 0;

	if (copy == NULL)
		return;
	split(copy, &words);
	if (words.n == 0)
		goto out;
	typed = words.word[words.n - 1];
	for (; at + 1 < words.n && words.word[at][0] == '-'; at++) {
		if (strcmp(words.word[at], "-s") == 0 && at + 2 < words.n)
			client->path = words.word[++at];
	}
	for (unsigned int i = 0; i < XV_METHOD_MAX; i++) {
		const char *command = xv_methods[i].command;
		unsigned int k = 0;

		while (at + k < words.n - 1 && nth_word(command, k, word, sizeof(word)) != NULL &&
		       strcmp(word, words.word[at + k]) == 0)
			k++;
		if (nth_word(command, k, word, sizeof(word)) == NULL) {
			if (k > complete_words) {
				complete = &xv_methods[i];
				complete_words = k;
			}
		} else if (at + k == words.n - 1) {
			offer(typed, "", word); /* the shell drops duplicates */
		}
	}
	if (complete != NULL)
		offer_arguments(client, complete, &words, at + complete_words);
	for (const struct local_command *c = local_commands; at == words.n - 1 && c->name != NULL;
	     c++)
		offer(typed, "", c->name);
out:
	free(copy);
}
