/* What cells make of a row, and cells whose row is not at hand: merged, so that many changes of a row become one. */
#include <math.h>

#include "lh_internal.h"

/* The columns that one change has named so far. One bit a column; tables have 200 at the most. */
typedef struct {
    uint64_t bits[4];
} seen;

/* Refuses a column that is not there, is of the key, or was named before. */
static bool see(lh_scope *scope, const lh_shape *table, seen *columns, uint32_t column)
{
    if (column >= table->column_count)
        return lh_violate(scope, "table '%s' has %u columns; there is none with number %u (they count from 0)",
                          table->name, table->column_count, column);
    if (table->columns[column].key)
        return lh_violate(scope, "%s: it is a key column, and a row keeps its key (remove the row and put another)",
                          lh_place(scope->arena, table, column));
    uint64_t bit = UINT64_C(1) << (column % 64), *word = &columns->bits[column / 64 % 4];
    if (*word & bit) return lh_violate(scope, "%s: one change names it twice", lh_place(scope->arena, table, column));
    *word |= bit;
    return true;
}

static bool overflow(lh_scope *scope, const lh_shape *table, uint32_t column)
{
    const lh_shape_column *declared = &table->columns[column];
    return lh_violate(scope, "%s: the sum does not fit %s", lh_place(scope->arena, table, column),
                      lh_type_name(scope->arena, declared->kind, declared->scale));
}

static bool not_addable(lh_scope *scope, const lh_shape *table, uint32_t column, lh_value value)
{
    const lh_shape_column *declared = &table->columns[column];
    const char *place = lh_place(scope->arena, table, column);
    const char *type = lh_type_name(scope->arena, declared->kind, declared->scale);
    bool number =
        declared->kind == LH_KIND_INTEGER || declared->kind == LH_KIND_REAL || declared->kind == LH_KIND_DECIMAL;
    if (number)
        return lh_violate(scope, "%s: cannot add %s to a column of type %s", place,
                          lh_describe_value(scope->arena, value), type);
    return lh_violate(scope, "%s: the column is %s, which is only set, never added to", place, type);
}

/* Adds to one value; null counts as 0. On a violation `sum` is as it was. */
static bool add(lh_scope *scope, const lh_shape *table, uint32_t column, lh_value *sum, lh_value more)
{
    const lh_shape_column *declared = &table->columns[column];
    switch (declared->kind) {
    case LH_KIND_INTEGER: {
        if (more.kind != LH_KIND_INTEGER) return not_addable(scope, table, column, more);
        int64_t total, old = lh_is_null(*sum) ? 0 : sum->integer;
        if (__builtin_add_overflow(old, more.integer, &total)) return overflow(scope, table, column);
        sum->kind = LH_KIND_INTEGER;
        sum->integer = total;
        return true;
    }
    case LH_KIND_REAL: {
        if (more.kind != LH_KIND_REAL) return not_addable(scope, table, column, more);
        double total = lh_is_null(*sum) ? more.real : sum->real + more.real;
        if (!isfinite(total)) return overflow(scope, table, column);
        /* 0.0 is added, so that -0 becomes 0. */
        *sum = lh_of_real(total + 0.0);
        return true;
    }
    case LH_KIND_DECIMAL: {
        if (more.kind != LH_KIND_INTEGER && more.kind != LH_KIND_DECIMAL)
            return not_addable(scope, table, column, more);
        if (more.kind == LH_KIND_INTEGER || more.decimal.scale != declared->scale) {
            if (!lh_conform(scope, table, column, &more)) return false;
        }
        if (lh_is_null(*sum)) {
            *sum = more;
            return true;
        }
        lh_decimal total;
        if (!lh_decimal_add(sum->decimal, more.decimal, &total)) return overflow(scope, table, column);
        sum->decimal = total;
        return true;
    }
    default: return not_addable(scope, table, column, more);
    }
}

static bool apply(lh_scope *scope, const lh_shape *table, lh_value *row, const lh_cell *cells, size_t count)
{
    seen columns = {{0}};
    for (size_t i = 0; i < count; i++) {
        uint32_t column = cells[i].column;
        if (!see(scope, table, &columns, column)) return false;
        if (cells[i].adds) {
            if (!add(scope, table, column, &row[column], cells[i].value)) return false;
            continue;
        }
        lh_value value = cells[i].value;
        if (!lh_conform(scope, table, column, &value)) return false;
        row[column] = lh_own(scope->arena, value);
    }
    return true;
}

bool lh_patch_row(lh_scope *scope, const lh_shape *table, lh_value *row, const lh_cell *cells, size_t count)
{
    return apply(scope, table, row, cells, count) && lh_within_indexes(scope, table, row);
}

lh_value *lh_new_row(lh_scope *scope, const lh_shape *table, const lh_value *key, const lh_cell *cells, size_t count)
{
    lh_value *row = lh_arena_alloc(scope->arena, table->column_count * sizeof *row);
    for (uint32_t column = 0; column < table->column_count; column++) {
        row[column] = table->columns[column].initial;
        if (table->columns[column].has_initial && !lh_conform(scope, table, column, &row[column])) return NULL;
    }
    for (uint32_t i = 0; i < table->key_count; i++) row[table->key[i]] = key[i];
    if (!apply(scope, table, row, cells, count)) return NULL;
    for (uint32_t column = 0; column < table->column_count; column++) {
        if (!table->columns[column].nullable && lh_is_null(row[column])) {
            lh_violate(scope,
                       "%s: an upsert of a new row must set it, for it is not nullable and declares no initial value",
                       lh_place(scope->arena, table, column));
            return NULL;
        }
    }
    return lh_within_indexes(scope, table, row) ? row : NULL;
}

static bool conform_cell(lh_scope *scope, const lh_shape *table, lh_cell *cell)
{
    if (cell->adds) {
        /* What it would make of nothing is what it adds, in the column's form. */
        lh_value sum = lh_null();
        if (!add(scope, table, cell->column, &sum, cell->value)) return false;
        cell->value = sum;
        return true;
    }
    if (!lh_conform(scope, table, cell->column, &cell->value)) return false;
    cell->value = lh_own(scope->arena, cell->value);
    return true;
}

lh_cell *lh_conform_cells(lh_scope *scope, const lh_shape *table, const lh_cell *cells, size_t count)
{
    /* With room for those that are merged in later: at most one a column. */
    size_t room = count > table->column_count ? count : table->column_count;
    lh_cell *own = lh_arena_alloc(scope->arena, room * sizeof *own);
    seen columns = {{0}};
    for (size_t i = 0; i < count; i++) {
        own[i] = cells[i];
        if (!see(scope, table, &columns, own[i].column) || !conform_cell(scope, table, &own[i])) return NULL;
    }
    return own;
}

bool lh_names_all_required(const lh_shape *table, const lh_cell *cells, size_t count)
{
    for (uint32_t column = 0; column < table->column_count; column++) {
        const lh_shape_column *declared = &table->columns[column];
        if (declared->nullable || declared->has_initial || declared->key) continue;
        bool named = false;
        for (size_t i = 0; i < count && !named; i++) named = cells[i].column == column;
        if (!named) return false;
    }
    return true;
}

static size_t position(const lh_cell *cells, size_t count, size_t likely, uint32_t column)
{
    /* Changes of one row mostly name the same columns in the same order. */
    if (likely < count && cells[likely].column == column) return likely;
    for (size_t i = 0; i < count; i++)
        if (cells[i].column == column) return i;
    return count;
}

bool lh_merge_cells(lh_scope *scope, const lh_shape *table, lh_cell *earlier, size_t *earlier_count,
                    const lh_cell *later, size_t later_count, lh_cell *rest, size_t *rest_count)
{
    seen columns = {{0}};
    *rest_count = 0;
    for (size_t i = 0; i < later_count; i++) {
        lh_cell cell = later[i];
        if (!see(scope, table, &columns, cell.column)) return false;
        size_t at = position(earlier, *earlier_count, i, cell.column);
        if (at == *earlier_count) {
            if (!conform_cell(scope, table, &cell)) return false;
            earlier[(*earlier_count)++] = cell;
            continue;
        }
        if (!cell.adds) {
            if (!conform_cell(scope, table, &cell)) return false;
            earlier[at] = cell;
            continue;
        }
        /* Two sums of reals depend on their order. */
        bool ordered = earlier[at].adds && table->columns[cell.column].kind == LH_KIND_REAL;
        lh_scope quiet = {.arena = scope->arena};
        if (ordered || !add(&quiet, table, cell.column, &earlier[at].value, cell.value)) {
            if (!conform_cell(scope, table, &cell)) return false;
            rest[(*rest_count)++] = cell;
        }
    }
    return true;
}
