/*
 * The history as an object that users create
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qom/object_interfaces.h"
#include "system/age-compat.h"
#include "system/replay.h"
#include "command.h"
#include "history-thread.h"

#define TYPE_AGE_HISTORY "age-history"

OBJECT_DECLARE_SIMPLE_TYPE(AgeHistoryObject, AGE_HISTORY)

/**
 * AgeHistoryObject: the object
 *
 * @interval: the `interval` property
 * @flush: the `flush` property
 * @dirty: the `dirty` property
 * @events: the `events` property
 * @state: what of it is in use; NULL until it is complete
 */
struct AgeHistoryObject {
    Object parent_obj;
    uint32_t interval;
    AgeFlush flush;
    bool dirty;
    bool events;
    HistoryState *state;
};

/* Of the history that was there last; BQL */
static uint64_t last_number;

/*
 * The first number is larger than any of a history before it: of the same
 * QEMU, or, by the time of day in us, of an earlier one, unless that had more
 * than a million numbers a second.
 */
static uint64_t first_number(void)
{
    return MAX(last_number + 1, g_get_real_time());
}

static HistoryState *history_new(const AgeHistoryObject *obj)
{
    HistoryState *s = g_new0(HistoryState, 1);

    s->refs = 1;
    s->id = g_strdup(object_get_canonical_path_component(OBJECT(obj)));
    s->interval = obj->interval;
    s->flush = obj->flush;
    s->events = obj->events;
    g_mutex_init(&s->lock);
    g_cond_init(&s->wake);
    age_history_init(&s->h, obj->dirty, first_number(), age_history_now_ms());
    return s;
}

static void history_complete(UserCreatable *uc, Error **errp)
{
    AgeHistoryObject *obj = AGE_HISTORY(uc);
    g_autoptr(HistoryState) other = age_history_any();

    if (!age_check_enabled(errp) || !age_parse_flush(true, &obj->flush, errp)) {
        return;
    }
    if (other) {
        error_setg(errp, "there is a history already, '%s'; any number of "
                   "clients can read it", other->id);
        return;
    }
    obj->state = history_new(obj);
    age_history_attach(&obj->state->h);
    if (obj->interval) {
        age_history_start(obj->state);
    }
}

static void history_instance_init(Object *o)
{
    AGE_HISTORY(o)->flush = replay_mode == REPLAY_MODE_NONE ? AGE_FLUSH_REQUEST
                                                            : AGE_FLUSH_NONE;
}

static void history_finalize(Object *o)
{
    HistoryState *s = AGE_HISTORY(o)->state;

    if (!s) {
        return;
    }
    if (s->interval) {
        age_history_stop(s);
    }
    age_history_detach();
    last_number = age_history_tick(&s->h, age_history_now_ms());
    call_rcu(s, age_history_put, rcu);
}

/* Properties */

/* They can't be changed later. */
static bool check_incomplete(const AgeHistoryObject *obj, const char *name,
                             Error **errp)
{
    if (obj->state) {
        error_setg(errp, "'%s' of a history can't be changed; delete it and "
                   "add another one", name);
        return false;
    }
    return true;
}

static void get_interval(Object *o, Visitor *v, const char *name, void *opaque,
                         Error **errp)
{
    visit_type_uint32(v, name, &AGE_HISTORY(o)->interval, errp);
}

static void set_interval(Object *o, Visitor *v, const char *name, void *opaque,
                         Error **errp)
{
    AgeHistoryObject *obj = AGE_HISTORY(o);

    if (check_incomplete(obj, name, errp)) {
        visit_type_uint32(v, name, &obj->interval, errp);
    }
}

static int get_flush(Object *o, Error **errp)
{
    return AGE_HISTORY(o)->flush;
}

static void set_flush(Object *o, int value, Error **errp)
{
    AgeHistoryObject *obj = AGE_HISTORY(o);

    if (check_incomplete(obj, "flush", errp)) {
        obj->flush = value;
    }
}

static bool get_dirty(Object *o, Error **errp)
{
    return AGE_HISTORY(o)->dirty;
}

static void set_dirty(Object *o, bool value, Error **errp)
{
    AgeHistoryObject *obj = AGE_HISTORY(o);

    if (check_incomplete(obj, "dirty", errp)) {
        obj->dirty = value;
    }
}

static bool get_events(Object *o, Error **errp)
{
    return AGE_HISTORY(o)->events;
}

static void set_events(Object *o, bool value, Error **errp)
{
    AgeHistoryObject *obj = AGE_HISTORY(o);

    if (check_incomplete(obj, "events", errp)) {
        obj->events = value;
    }
}

static void history_class_init(ObjectClass *oc, AgeClassData *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = history_complete;
    object_class_property_add(oc, "interval", "uint32", get_interval,
                              set_interval, NULL, NULL);
    object_class_property_set_description(oc, "interval",
        "Milliseconds between harvests of its own; 0 for none");
    object_class_property_add_enum(oc, "flush", "AgeFlush", &AgeFlush_lookup,
                                   get_flush, set_flush);
    object_class_property_set_description(oc, "flush",
        "What to do about TLBs after a harvest");
    object_class_property_add_bool(oc, "dirty", get_dirty, set_dirty);
    object_class_property_set_description(oc, "dirty",
        "Remember stores as well");
    object_class_property_add_bool(oc, "events", get_events, set_events);
    object_class_property_set_description(oc, "events",
        "Emit an event for each harvest of its own");
}

static const TypeInfo history_info = {
    .name = TYPE_AGE_HISTORY,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(AgeHistoryObject),
    .instance_init = history_instance_init,
    .instance_finalize = history_finalize,
    .class_init = history_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    },
};

static void history_register(void)
{
    type_register_static(&history_info);
}

type_init(history_register);
