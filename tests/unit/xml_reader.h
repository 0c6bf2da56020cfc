/* A strict reader of the XML we may write: elements balanced, attributes quoted, every character
 * that must be escaped escaped. Fails the test that calls it. */
#pragma once

#include "bidder/base/buf.h"
#include "tests/test.h"

struct xml_node {
    struct str name; /* "@name" for an attribute */
    int parent;
    char text[4096]; /* decoded */
    size_t len;
};

struct xml {
    struct str rest;
    struct xml_node nodes[96];
    int count;
    const char *error;
};

static inline bool xml_fail(struct xml *xml, const char *error)
{
    xml->error = xml->error ? xml->error : error;
    return false;
}

static inline bool xml_take(struct xml *xml, const char *text)
{
    struct str prefix = str_from(text);
    if (!str_starts(xml->rest, prefix)) {
        return false;
    }
    xml->rest = (struct str){xml->rest.ptr + prefix.len, xml->rest.len - prefix.len};
    return true;
}

static inline void xml_add(struct xml_node *node, char c)
{
    if (node->len < sizeof(node->text)) {
        node->text[node->len++] = c;
    }
}

/* One character of text or attribute value, decoded. */
static inline bool xml_character(struct xml *xml, struct xml_node *node)
{
    static const struct {
        const char *entity;
        char c;
    } entities[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&#39;", '\''}};
    for (size_t i = 0; i < 5; i++) {
        if (xml_take(xml, entities[i].entity)) {
            xml_add(node, entities[i].c);
            return true;
        }
    }
    unsigned char c = (unsigned char)xml->rest.ptr[0];
    if (c == '&' || c == '<' || c == '>' || (c < 0x20 && c != '\t' && c != '\n' && c != '\r')) {
        return xml_fail(xml, "a character that must be escaped");
    }
    if (str_starts(xml->rest, STR("\xef\xbf\xbe")) || str_starts(xml->rest, STR("\xef\xbf\xbf"))) {
        return xml_fail(xml, "a non-character");
    }
    xml_add(node, (char)c);
    xml->rest = (struct str){xml->rest.ptr + 1, xml->rest.len - 1};
    return true;
}

static inline bool is_letter(char c)
{
    return str_ascii_lower(c) >= 'a' && str_ascii_lower(c) <= 'z';
}

static inline struct str xml_name(struct xml *xml)
{
    struct str name = {xml->rest.ptr, 0};
    while (name.len < xml->rest.len &&
           (xml->rest.ptr[name.len] == '_' || is_letter(xml->rest.ptr[name.len]))) {
        name.len++;
    }
    xml->rest = (struct str){xml->rest.ptr + name.len, xml->rest.len - name.len};
    return name;
}

static inline int xml_node(struct xml *xml, struct str name, int parent)
{
    if (xml->count == 96) {
        xml_fail(xml, "too many nodes");
        return 0;
    }
    xml->nodes[xml->count] = (struct xml_node){.name = name, .parent = parent};
    return xml->count++;
}

static inline bool xml_attributes(struct xml *xml, int element)
{
    while (xml_take(xml, " ")) {
        int node = xml_node(xml, xml_name(xml), element);
        if (xml->nodes[node].name.len == 0 || !xml_take(xml, "=\"")) {
            return xml_fail(xml, "attribute without quoted value");
        }
        while (xml->rest.len && xml->rest.ptr[0] != '"') {
            if (!xml_character(xml, &xml->nodes[node])) {
                return false;
            }
        }
        if (!xml_take(xml, "\"")) {
            return xml_fail(xml, "attribute does not end");
        }
    }
    return true;
}

static inline bool xml_cdata(struct xml *xml, int element)
{
    while (!str_starts(xml->rest, STR("]]>"))) {
        if (xml->rest.len == 0 || (unsigned char)xml->rest.ptr[0] < 0x20) {
            return xml_fail(xml, "bad CDATA");
        }
        xml_add(&xml->nodes[element], xml->rest.ptr[0]);
        xml->rest = (struct str){xml->rest.ptr + 1, xml->rest.len - 1};
    }
    return xml_take(xml, "]]>");
}

static inline bool xml_element(struct xml *xml, int parent, int depth)
{
    if (depth > 12 || !xml_take(xml, "<")) {
        return xml_fail(xml, "no element");
    }
    int element = xml_node(xml, xml_name(xml), parent);
    struct str name = xml->nodes[element].name;
    if (name.len == 0 || !xml_attributes(xml, element) || !xml_take(xml, ">")) {
        return xml_fail(xml, "bad start tag");
    }
    while (!str_starts(xml->rest, STR("</"))) {
        bool ok = xml->rest.len == 0           ? xml_fail(xml, "element does not end")
                  : xml_take(xml, "<![CDATA[") ? xml_cdata(xml, element)
                  : xml->rest.ptr[0] == '<'    ? xml_element(xml, element, depth + 1)
                                               : xml_character(xml, &xml->nodes[element]);
        if (!ok) {
            return false;
        }
    }
    xml_take(xml, "</");
    struct str closing = xml_name(xml);
    return (str_eq(closing, name) && xml_take(xml, ">")) || xml_fail(xml, "tags cross");
}

static inline struct xml xml_parse(struct str text)
{
    static struct xml xml;
    memset(&xml, 0, sizeof(xml));
    xml.rest = text;
    bool ok = xml_take(&xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>") &&
              xml_element(&xml, -1, 0) && xml.rest.len == 0;
    if (!ok) {
        xml_fail(&xml, "malformed");
        TEST_FAIL("XML: %s at \"%.60s\" of %.*s", xml.error, xml.rest.len ? xml.rest.ptr : "",
                  STR_ARG(text));
    }
    return xml;
}

/* The n-th node of a name, or NULL. */
static const struct xml_node *xml_find(const struct xml *xml, const char *name, int n)
{
    for (int i = 0; i < xml->count; i++) {
        if (str_eq(xml->nodes[i].name, str_from(name)) && n-- == 0) {
            return &xml->nodes[i];
        }
    }
    return NULL;
}

static inline struct str xml_text(const struct xml *xml, const char *name, int n)
{
    const struct xml_node *node = xml_find(xml, name, n);
    return node ? (struct str){node->text, node->len} : STR("(absent)");
}

/* Names of the children of the first element of a name (attributes too), in order. */
static inline struct str xml_children(const struct xml *xml, const char *name, struct buf *out)
{
    buf_reset(out);
    for (int i = 0; i < xml->count; i++) {
        int parent = xml->nodes[i].parent;
        if (parent >= 0 && str_eq(xml->nodes[parent].name, str_from(name))) {
            buf_put_str(out, xml->nodes[i].name);
            buf_put_char(out, ' ');
        }
    }
    return buf_str(out);
}
