/* A table's declaration, ready for use. */
#include "lh_internal.h"

static bool initial_of(lh_scope *scope, const lh_table *table, const lh_column *column, lh_value *out)
{
    lh_text text = {column->initial.text, column->initial.len};
    switch (column->initial.kind) {
    case LH_KIND_BOOLEAN: *out = lh_of_bool(column->initial.integer != 0); return true;
    case LH_KIND_INTEGER: *out = lh_of_int(column->initial.integer); return true;
    case LH_KIND_REAL: *out = lh_of_real(column->initial.real); return true;
    case LH_KIND_TEXT: *out = lh_of_text(text); return true;
    case LH_KIND_JSON: *out = lh_of_json(text); return true;
    case LH_KIND_BYTES: *out = lh_of_bytes(text.ptr, text.len); return true;
    case LH_KIND_DECIMAL:
        *out = lh_of_decimal(lh_decimal_of(0));
        if (lh_decimal_parse(text, &out->decimal)) return true;
        break;
    case LH_KIND_TIMESTAMP:
        *out = lh_of_timestamp((lh_timestamp){0});
        if (lh_timestamp_parse(text, &out->timestamp)) return true;
        break;
    default: *out = lh_null(); return true;
    }
    return lh_violate(scope, "initial value of %s.%s: '%s' is no %s", table->name, column->name,
                      lh_shown(scope->arena, text, LH_SHOWN_CHARS),
                      column->initial.kind == LH_KIND_DECIMAL ? "decimal" : "RFC 3339 timestamp");
}

bool lh_shape_make(lh_scope *scope, const lh_table *table, lh_shape *out)
{
    size_t count = table->column_count;
    out->name = table->name == NULL ? "" : table->name;
    out->columns = lh_arena_alloc(scope->arena, count * sizeof *out->columns);
    out->column_count = (uint32_t)count;
    out->key = lh_arena_alloc(scope->arena, count * sizeof *out->key);
    out->key_count = 0;
    out->indexes = table->indexes;
    out->index_count = (uint32_t)table->index_count;
    for (size_t i = 0; i < count; i++) {
        const lh_column *column = &table->columns[i];
        lh_shape_column *to = &out->columns[i];
        *to = (lh_shape_column){
            .kind = column->kind,
            .scale = column->scale,
            .key = column->key,
            .nullable = column->nullable,
            .has_initial = column->initial.kind != LH_KIND_NULL,
            .name = column->name == NULL ? "" : column->name,
        };
        if (!initial_of(scope, table, column, &to->initial)) return false;
        if (column->key) out->key[out->key_count++] = (uint32_t)i;
    }
    return true;
}

const lh_shape *lh_shapes_of(lh_scope *scope, const lh_projector *projector)
{
    lh_shape *shapes = lh_arena_alloc(scope->arena, (projector->table_count + 1) * sizeof *shapes);
    for (size_t i = 0; i < projector->table_count; i++)
        if (!lh_shape_make(scope, &projector->tables[i], &shapes[i])) return NULL;
    return shapes;
}
