"""The app's pages: `path("erpnext/", include("erpnext_bridge.urls"))` puts them into a project."""

from __future__ import annotations

from django.urls import path

from erpnext_bridge import monitoring, queue_views, views, write_views

app_name = "erpnext_bridge"

# The default site goes unnamed, so that its redirect URI is https://<host>/erpnext/callback/ .
urlpatterns = [
    path("", views.status, name="status"),
    path("connect/", views.connect, name="connect"),
    path("connect/<str:site>/", views.connect, name="connect"),
    path("callback/", views.callback, name="callback"),
    path("callback/<str:site>/", views.callback, name="callback"),
    path("disconnect/", views.disconnect, name="disconnect"),
    path("disconnect/<str:site>/", views.disconnect, name="disconnect"),
    path("health/", monitoring.health, name="health"),
    path("resume/", views.resume, name="resume"),
    path("writes/", write_views.write_list, name="writes"),
    path("writes/queue/", queue_views.write_queue, name="write_queue"),
    path("writes/metrics/", queue_views.write_metrics, name="write_metrics"),
    path("writes/<uuid:pk>/", write_views.write_detail, name="write"),
    path("writes/<uuid:pk>/status/", write_views.write_status, name="write_status"),
]
